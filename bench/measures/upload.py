"""One large upload: with its length told beforehand, and in chunks."""

from __future__ import annotations

import asyncio
from functools import partial

from bench.contenders import Contender
from bench.disk import level
from bench.measure import Figure, Figures, Ground, Limit, Measure, of_limit, of_second
from bench.sizes import GIB
from bench.transfers import put


async def take(on: Contender, ground: Ground, *, chunked: bool) -> Figures:
    """Upload the image, and delete it."""
    size = ground.sizes.image_bytes
    await asyncio.to_thread(level, on.folder, size)
    image_id = await on.new_image()
    with on.watched() as spent:
        await asyncio.to_thread(put, on.endpoint, image_id, ground.image, chunked=chunked)
    await on.forget([image_id])
    return {
        "speed": size / spent.seconds / 1e6,
        "cpu": spent.cpu_seconds and spent.cpu_seconds * GIB / size,
        "peak": spent.peak_mib,
    }


UPLOAD = Measure(
    "upload",
    (
        Figure("speed", "upload, Content-Length", "MB/s", (of_second(2.2), of_limit(0.85))),
        Figure("cpu", "its processor time", "CPU s/GiB", less_is_better=True),
        Figure("peak", "its peak memory", "MiB", less_is_better=True),
    ),
    partial(take, chunked=False),
    limit=Limit.RECEIVER,
)

CHUNKED = Measure(
    "chunked",
    (
        Figure("speed", "upload, chunked", "MB/s", (of_second(3),)),
        Figure("cpu", "its processor time", "CPU s/GiB", less_is_better=True),
        Figure("peak", "its peak memory", "MiB", less_is_better=True),
    ),
    partial(take, chunked=True),
)
