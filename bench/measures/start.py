"""From the start of the process to its first answer, and the memory that it has when idle."""

from __future__ import annotations

import asyncio

from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, absolute
from bench.targets import BenchTarget


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Stop it, and start it again."""
    if on.program is None or on.tree is None:
        return {}
    await on.program.stop()
    seconds = await on.program.start()
    await asyncio.sleep(ground.sizes.quiet_seconds)
    return {"start": seconds, "idle": on.tree.resident_mib()}


START = Measure(
    "start",
    (
        MeasuredValue("start", "start to first answer", "s", (absolute(0.8),), less_is_better=True),
        MeasuredValue("idle", "idle memory", "MiB", (absolute(80),), less_is_better=True),
    ),
    take,
    suits=lambda on: on.program is not None,
)
