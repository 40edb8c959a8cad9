"""Images in a bucket of SeaweedFS: one large upload and download, beside other clients of S3.

The other clients compute no digest of an image, and put straight into the bucket what imaged
receives first. All of it, and the S3 server, is on the same processors.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

from bench.databases import database_like
from bench.measure import Figures, Measure, MeasureContext, MeasuredValue, absolute
from bench.s3_clients import CLIENTS, transfer
from bench.seaweedfs import Bucket, seaweedfs
from bench.sizes import GIB
from bench.targets import BenchTarget, imaged, new_folder, running
from bench.transfers import get, put

#: Soon after its start a daemon compares bucket and catalog, for two seconds of a processor.
SETTINGS = '[reconcile]\nevery = "0"'


@asynccontextmanager
async def in_bucket(on: BenchTarget) -> AsyncIterator[tuple[BenchTarget, Bucket]]:
    """A daemon like this one, with a bucket for its images and a catalog of the same kind."""
    folder = new_folder(on.folder, "bucket")
    async with seaweedfs(folder / "seaweedfs") as bucket, database_like(on.catalog) as catalog:
        target = imaged(folder / "imaged", catalog, store=bucket.store, more=SETTINGS)
        if catalog:
            await target.migrate()
        async with running(target):
            yield target, bucket


async def take(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Upload and download the image by each in turn; the daemon is started for this."""
    size, target_file = ground.sizes.image_bytes, on.folder / "downloaded"
    figures: dict[str, float | None] = {}
    async with in_bucket(on) as (target, bucket):
        if target.tree is not None:
            await asyncio.sleep(ground.sizes.quiet_seconds)
            figures["idle"] = target.tree.resident_mib()
        image_id = await target.new_image()
        with target.watched() as up:
            await asyncio.to_thread(put, target.endpoint, image_id, ground.image)
        for client in CLIENTS:
            cost = await transfer(client, "put", bucket.endpoint, ground.image)
            figures[f"put_{client}"] = size / cost.seconds / 1e6
        with target.watched() as down:
            await asyncio.to_thread(get, target.endpoint, image_id, size)
        for client in CLIENTS:
            cost = await transfer(client, "get", bucket.endpoint, target_file)
            figures[f"get_{client}"] = size / cost.seconds / 1e6
            target_file.unlink()
    put_speed, get_speed = size / up.seconds / 1e6, size / down.seconds / 1e6
    return figures | {
        "put": put_speed,
        "put_ratio": put_speed / (figures["put_boto3"] or 1),
        "put_cpu": up.cpu_seconds and up.cpu_seconds * GIB / size,
        "get": get_speed,
        "get_ratio": get_speed / (figures["get_boto3"] or 1),
        "get_cpu": down.cpu_seconds and down.cpu_seconds * GIB / size,
    }


async def take_crowd(on: BenchTarget, ground: MeasureContext) -> Figures:
    """Upload many images at once, which are as large as one together."""
    count = ground.sizes.bucket_crowd
    loop = asyncio.get_running_loop()
    async with in_bucket(on) as (target, _):
        ids = [await target.new_image() for _ in range(count)]
        with target.watched() as spent, ThreadPoolExecutor(count) as threads:
            await asyncio.gather(
                *(
                    loop.run_in_executor(threads, put, target.endpoint, each, ground.share)
                    for each in ids
                )
            )
    return spent.of_transfer(ground.share.stat().st_size * count)


BUCKET = Measure(
    "bucket",
    (
        MeasuredValue(
            "idle", "idle memory with a bucket", "MiB", (absolute(95),), less_is_better=True
        ),
        MeasuredValue("put", "upload into a bucket", "MB/s"),
        MeasuredValue("put_boto3", "the same bytes by boto3", "MB/s"),
        MeasuredValue("put_obstore", "the same bytes by obstore", "MB/s"),
        MeasuredValue("put_ratio", "imaged : boto3", "×", (absolute(1.1),)),
        MeasuredValue(
            "put_cpu",
            "processor time of imaged",
            "CPU s/GiB",
            (absolute(3.6),),
            less_is_better=True,
        ),
        MeasuredValue("get", "download from a bucket", "MB/s"),
        MeasuredValue("get_boto3", "the same bytes by boto3", "MB/s"),
        MeasuredValue("get_obstore", "the same bytes by obstore", "MB/s"),
        MeasuredValue("get_ratio", "imaged : boto3", "×", (absolute(1.1),)),
        MeasuredValue("get_cpu", "processor time of imaged", "CPU s/GiB", less_is_better=True),
    ),
    take,
    suits=lambda on: on.origin is not None,
)

BUCKET_CROWD = Measure(
    "bucket-crowd",
    (
        MeasuredValue("speed", "64 uploads into a bucket at once, in all", "MB/s"),
        MeasuredValue("cpu", "their processor time", "CPU s/GiB", less_is_better=True),
        MeasuredValue("peak", "their peak memory", "MiB", (absolute(320),), less_is_better=True),
    ),
    take_crowd,
    suits=lambda on: on.origin is not None,
)
