"""Small uploads, by many at once."""

from __future__ import annotations

import os

from bench.client import Client
from bench.load_generator import run_load
from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, of_second
from bench.targets import IMAGE_RECORD, BenchTarget


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Create an image and upload it, again and again; then delete them all."""
    sizes, made = ground.sizes, list[str]()
    data = os.urandom(sizes.small_bytes)

    async def cycle(client: Client) -> None:
        image_id = await client.create(IMAGE_RECORD)
        await client.put(image_id, data)
        made.append(image_id)

    pace = await run_load(on.endpoint, cycle, at_once=sizes.at_once, seconds=sizes.seconds)
    await on.forget(made)
    return {"cycles": pace.per_second, "p99": pace.percentile_ms(99)}


SMALL = Measure(
    "small",
    (
        MeasuredValue("cycles", "create and upload 4 KiB, 16 at once", "per s", (of_second(6),)),
        MeasuredValue("p99", "one of them, p99", "ms", less_is_better=True),
    ),
    take,
)
