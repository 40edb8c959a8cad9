"""From the start of the process to its first answer, and the memory that it has when idle."""

from __future__ import annotations

import asyncio

from bench.contenders import Contender
from bench.measure import Figure, Figures, Ground, Measure, absolute


async def take(on: Contender, ground: Ground) -> Figures:
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
        Figure("start", "start to first answer", "s", (absolute(0.8),), less_is_better=True),
        Figure("idle", "idle memory", "MiB", (absolute(95.4),), less_is_better=True),  # 100 MB
    ),
    take,
    suits=lambda on: on.program is not None,
)
