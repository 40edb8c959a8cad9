"""Bytes that are freed: small images, deleted and then scrubbed by one run of the command.

An empty run is measured too, and taken off: what is left is the cost of the images.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable

from bench.client import connected
from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, of_second
from bench.targets import IMAGE_RECORD, BenchTarget


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Fill, delete, and scrub."""
    await _fill_and_delete(on, ground)
    with on.watched() as full:
        await on.free()
    with on.watched() as empty:
        await on.free()
    return {"images": ground.sizes.scrubbed / max(full.seconds - empty.seconds, 0.001)}


async def _fill_and_delete(on: BenchTarget, ground: MeasureContext) -> None:
    sizes = ground.sizes
    data, turns = os.urandom(sizes.small_bytes), iter(range(sizes.scrubbed))

    async def work(turns: Iterable[int]) -> None:
        async with connected(on.endpoint) as client:
            for _ in turns:
                image_id = await client.create(IMAGE_RECORD)
                await client.put(image_id, data)
                await client.delete(image_id)

    await asyncio.gather(*(work(turns) for _ in range(sizes.at_once)))


SCRUB = Measure(
    "scrub",
    (MeasuredValue("images", "scrub 2,000 small images", "per s", (of_second(15),)),),
    take,
    is_long=True,
    suits=lambda on: bool(on.scrub),
)
