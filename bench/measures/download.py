"""One large download."""

from __future__ import annotations

import asyncio

from bench.measure import Figures, LimitServer, Measure, MeasureContext, MeasuredValue, of_limit
from bench.sizes import GIB
from bench.targets import BenchTarget
from bench.transfers import get, put

DOWNLOADED_IMAGE = "to download"


async def prepare(on: BenchTarget, ground: MeasureContext) -> None:
    """Have the image there."""
    if DOWNLOADED_IMAGE not in on.kept:
        on.kept[DOWNLOADED_IMAGE] = await on.new_image()
        await asyncio.to_thread(put, on.endpoint, on.kept[DOWNLOADED_IMAGE], ground.image)


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Download it."""
    size = ground.sizes.image_bytes
    with on.watched() as spent:
        await asyncio.to_thread(get, on.endpoint, on.kept[DOWNLOADED_IMAGE], size)
    return {
        "speed": size / spent.seconds / 1e6,
        "cpu": spent.cpu_seconds and spent.cpu_seconds * GIB / size,
    }


async def clean(on: BenchTarget, _: MeasureContext) -> None:
    """Leave nothing behind."""
    await on.forget([on.kept.pop(DOWNLOADED_IMAGE)])


DOWNLOAD = Measure(
    "download",
    (
        MeasuredValue("speed", "download", "MB/s", (of_limit(0.9),)),
        MeasuredValue("cpu", "its processor time", "CPU s/GiB", less_is_better=True),
    ),
    take,
    prepare,
    clean,
    limit=LimitServer.NGINX,
)
