"""Several uploads at once."""

from __future__ import annotations

import asyncio

from bench.disk import level
from bench.measure import (
    Figures,
    LimitServer,
    Measure,
    MeasureContext,
    MeasuredValue,
    of_limit,
)
from bench.targets import BenchTarget
from bench.transfers import put


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Upload a crowd of images, and delete them."""
    size = ground.part.stat().st_size * ground.sizes.crowd
    await asyncio.to_thread(level, on.folder, size)
    ids = [await on.new_image() for _ in range(ground.sizes.crowd)]
    with on.watched() as spent:
        uploads = (asyncio.to_thread(put, on.endpoint, each, ground.part) for each in ids)
        await asyncio.gather(*uploads)
    await on.forget(ids)
    return spent.of_transfer(size)


CROWD = Measure(
    "crowd",
    (
        MeasuredValue("speed", "8 uploads at once, in all", "MB/s", (of_limit(0.85),)),
        MeasuredValue("cpu", "their processor time", "CPU s/GiB", less_is_better=True),
        MeasuredValue("peak", "their peak memory", "MiB", less_is_better=True),
    ),
    take,
    limit=LimitServer.RECEIVER,
)
