"""A record, shown while uploads run flat out."""

from __future__ import annotations

import asyncio

from bench.client import Client
from bench.disk import level
from bench.load_generator import run_load_while
from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, absolute
from bench.targets import BenchTarget
from bench.transfers import put


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Ask as long as every upload runs."""
    count = ground.sizes.load
    await asyncio.to_thread(level, on.folder, ground.sizes.load_bytes * count)
    shown, *ids = [await on.new_image() for _ in range(count + 1)]

    async def show(client: Client) -> None:
        await client.get(f"/v2/images/{shown}")

    uploads = [
        asyncio.create_task(asyncio.to_thread(put, on.endpoint, each, ground.load)) for each in ids
    ]
    with on.watched() as spent:
        pace = await run_load_while(
            on.endpoint, show, lambda: not any(upload.done() for upload in uploads)
        )
        await asyncio.gather(*uploads)
    await on.forget([shown, *ids])
    speed = ground.sizes.load_bytes * count / spent.seconds / 1e6
    return {"p50": pace.percentile_ms(50), "p99": pace.percentile_ms(99), "speed": speed}


LOAD = Measure(
    "load",
    (
        MeasuredValue("p50", "show while 4 uploads run, p50", "ms", less_is_better=True),
        MeasuredValue(
            "p99", "show while 4 uploads run, p99", "ms", (absolute(5),), less_is_better=True
        ),
        MeasuredValue("speed", "those uploads, in all", "MB/s"),
    ),
    take,
)
