"""One large upload: with its length told beforehand, and in chunks."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.disk import level
from bench.measure import (
    Figures,
    LimitServer,
    Measure,
    MeasureContext,
    MeasuredValue,
    of_limit,
    of_second,
)
from bench.targets import BenchTarget
from bench.transfers import put


async def take(on: BenchTarget, ground: MeasureContext, *, chunked: bool) -> Figures:
    """Upload the image, and delete it."""
    size = ground.sizes.image_bytes
    await asyncio.to_thread(level, on.folder, size)
    image_id = await on.new_image()
    with on.watched() as spent:
        await asyncio.to_thread(put, on.endpoint, image_id, ground.image, chunked=chunked)
    await on.forget([image_id])
    return spent.of_transfer(size)


UPLOAD = Measure(
    "upload",
    (
        MeasuredValue("speed", "upload, Content-Length", "MB/s", (of_second(2.3), of_limit(0.85))),
        MeasuredValue("cpu", "its processor time", "CPU s/GiB", less_is_better=True),
        MeasuredValue("peak", "its peak memory", "MiB", less_is_better=True),
    ),
    partial(take, chunked=False),
    limit=LimitServer.RECEIVER,
)

CHUNKED = Measure(
    "chunked",
    (
        MeasuredValue("speed", "upload, chunked", "MB/s", (of_second(2.8),)),
        MeasuredValue("cpu", "its processor time", "CPU s/GiB", less_is_better=True),
        MeasuredValue("peak", "its peak memory", "MiB", less_is_better=True),
    ),
    partial(take, chunked=True),
)
