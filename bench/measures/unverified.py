"""One large download from a daemon that compares no checksums: the kernel sends the file."""

from __future__ import annotations

from bench.measure import Figures, LimitServer, Measure, MeasureContext, MeasuredValue, of_limit
from bench.measures import download
from bench.targets import BenchTarget, imaged, new_folder, running

SETTINGS = "[downloads]\nverify = false"


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Download the image from a daemon that is started for this, or from nginx."""
    if on.origin is None:
        return await download.take(on, ground)
    async with running(imaged(new_folder(on.folder, "unverified"), more=SETTINGS)) as target:
        await download.prepare(target, ground)
        await download.take(target, ground)  # the first one reads the file into memory
        figures = await download.take(target, ground)
        await download.clean(target, ground)
    return figures


UNVERIFIED = Measure(
    "unverified",
    (
        MeasuredValue("speed", "download, not verified", "MB/s", (of_limit(1),)),
        MeasuredValue(
            "cpu", "its processor time", "CPU s/GiB", (of_limit(1 / 1.2),), less_is_better=True
        ),
    ),
    take,
    limit=LimitServer.NGINX,
    suits=lambda on: on.origin is not None,
)
