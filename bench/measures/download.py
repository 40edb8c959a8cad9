"""One large download."""

from __future__ import annotations

import asyncio

from bench.contenders import Contender
from bench.measure import Figure, Figures, Ground, Limit, Measure, of_limit
from bench.sizes import GIB
from bench.transfers import get, put

KEPT = "to download"


async def prepare(on: Contender, ground: Ground) -> None:
    """Have the image there."""
    if KEPT not in on.kept:
        on.kept[KEPT] = await on.new_image()
        await asyncio.to_thread(put, on.endpoint, on.kept[KEPT], ground.image)


async def take(on: Contender, ground: Ground) -> Figures:
    """Download it."""
    size = ground.sizes.image_bytes
    with on.watched() as spent:
        await asyncio.to_thread(get, on.endpoint, on.kept[KEPT], size)
    return {
        "speed": size / spent.seconds / 1e6,
        "cpu": spent.cpu_seconds and spent.cpu_seconds * GIB / size,
    }


async def clean(on: Contender, _: Ground) -> None:
    """Leave nothing behind."""
    await on.forget([on.kept.pop(KEPT)])


DOWNLOAD = Measure(
    "download",
    (
        Figure("speed", "download", "MB/s", (of_limit(0.9),)),
        Figure("cpu", "its processor time", "CPU s/GiB", less_is_better=True),
    ),
    take,
    prepare,
    clean,
    limit=Limit.NGINX,
)
