"""One large upload with sha256 and no md5, beside one with md5 and sha512, the default.

Only processors with SHA extensions are twice as fast.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from statistics import median

from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, absolute
from bench.measures import upload
from bench.targets import BenchTarget, imaged, new_folder, running

TURNS = 3  # of each in a round
SETTINGS = {
    "default": "",
    "sha256": '[uploads]\nchecksum = "none"\nhash_algorithm = "sha256"',
}


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Upload to both daemons in turn; they are started for this."""
    speeds: dict[str, list[float]] = {name: [] for name in SETTINGS}
    put = partial(upload.take, chunked=False)
    async with AsyncExitStack() as stack:
        targets = {
            name: await stack.enter_async_context(
                running(imaged(new_folder(on.folder, name), more=more))
            )
            for name, more in SETTINGS.items()
        }
        for _ in range(TURNS):
            for name, target in targets.items():
                speeds[name].append((await put(target, ground))["speed"] or 0)
    sha256, default = median(speeds["sha256"]), median(speeds["default"])
    return {"sha256": sha256, "default": default, "ratio": sha256 / default}


HASHING = Measure(
    "hashing",
    (
        MeasuredValue("sha256", "upload, sha256 and no md5", "MB/s"),
        MeasuredValue("default", "upload, md5 and sha512", "MB/s"),
        MeasuredValue("ratio", "sha256 : md5 and sha512", "×", (absolute(2),)),
    ),
    take,
    suits=lambda on: on.origin is not None,
)
