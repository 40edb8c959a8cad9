"""A record, shown while uploads run flat out."""

from __future__ import annotations

import asyncio

from bench.client import Client
from bench.contenders import Contender
from bench.disk import level
from bench.measure import Figure, Figures, Ground, Measure, absolute
from bench.pace import keep_up_while
from bench.transfers import put


async def take(on: Contender, ground: Ground) -> Figures:
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
        pace = await keep_up_while(
            on.endpoint, show, lambda: not any(upload.done() for upload in uploads)
        )
        await asyncio.gather(*uploads)
    await on.forget([shown, *ids])
    speed = ground.sizes.load_bytes * count / spent.seconds / 1e6
    return {"p50": pace.percentile_ms(50), "p99": pace.percentile_ms(99), "speed": speed}


LOAD = Measure(
    "load",
    (
        Figure("p50", "show while 4 uploads run, p50", "ms", less_is_better=True),
        Figure("p99", "show while 4 uploads run, p99", "ms", (absolute(10),), less_is_better=True),
        Figure("speed", "those uploads, in all", "MB/s"),
    ),
    take,
)
