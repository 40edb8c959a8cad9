"""Exports by processes that die after their first, second, third … call, by SIGKILL.

    python -m support.kill_harness.export_process folder PATH
    python -m support.kill_harness.export_process bucket ENDPOINT PREFIX

Each process exports to a place of its own, ``PATH/<number>`` or ``PREFIX/<number>``, until one of
them lives long enough. How many died is printed. They are forked, so that imports cost once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from contracts.store_bodies import body, some_bytes
from contracts.store_bucket import settings_for
from imaged.core.limits import KIB, MIB
from imaged.exports.filesystem import FilesystemExport
from imaged.exports.s3 import S3Export
from imaged.lanes import InlineLane
from imaged.ports.export import Destination, ExportFile
from imaged.stores.filesystem.disk import Disk
from imaged.stores.filesystem.settings import FilesystemSettings
from support.settings import configured

SMALL_DATA = some_bytes(12 * KIB)
LARGE_DATA = some_bytes(6 * MIB)
EXPORTED_FILE = ExportFile("5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5", UUID(int=1), "a/b/image.raw")


def countdown(calls: int) -> Callable[[], None]:
    """To be called as often; then it ends the process."""
    left = calls

    def count() -> None:
        nonlocal left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return count


def killing_disk(count: Callable[[], None]) -> Disk:
    """Counts before each call."""

    def counting(call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **named: Any) -> Any:
            count()
            return call(*arguments, **named)

        return counted

    disk = Disk()
    for name in dir(Disk):
        if not name.startswith("_"):
            setattr(disk, name, counting(getattr(Disk, name)))
    return disk


def folder_at(path: str, number: int, disk: Disk | None = None) -> FilesystemExport:
    """The destination of one of them."""
    root = Path(path) / str(number)
    root.mkdir(exist_ok=True)
    settings = configured(
        FilesystemSettings, path=root, min_free_bytes=0, flush_every_bytes=8 * KIB
    )
    return FilesystemExport("archive", settings, disk=disk, lanes=InlineLane)


def bucket_at(endpoint: str, prefix: str, number: int) -> S3Export:
    """The destination of one of them."""
    return S3Export("archive", settings_for(endpoint, prefix=f"{prefix}/{number}"))


def _killed_folder_export(number: int, path: str) -> tuple[Destination, bytes]:
    return folder_at(path, number, killing_disk(countdown(number))), SMALL_DATA


def _killed_bucket_export(number: int, endpoint: str, prefix: str) -> tuple[Destination, bytes]:
    """It is killed before each call, which is after the one before it."""
    bucket, count = bucket_at(endpoint, prefix, number), countdown(number)
    make = bucket._client.call_once

    async def once(*arguments: Any, **named: Any) -> Any:
        count()
        return await make(*arguments, **named)

    bucket._client.call_once = once  # type: ignore[method-assign]
    return bucket, LARGE_DATA


async def _export(destination: Destination, data: bytes) -> None:
    await destination.deliver(EXPORTED_FILE, body(data, len(data) // 3))
    await destination.close()


async def _load_library(endpoint: str, prefix: str) -> None:
    """The library reads its descriptions of S3 once, and not again in each process."""
    bucket = bucket_at(endpoint, prefix, 0)
    await bucket.has("image.raw")
    await bucket.close()


def main(kind: str, *arguments: str) -> None:
    """Go on until one survives."""
    kinds: dict[str, Callable[..., tuple[Destination, bytes]]]
    kinds = {"folder": _killed_folder_export, "bucket": _killed_bucket_export}
    build = kinds[kind]
    if kind == "bucket":
        asyncio.run(_load_library(*arguments))
    number = 0
    while True:
        child = os.fork()
        if child == 0:
            asyncio.run(_export(*build(number, *arguments)))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if status != signal.SIGKILL:
            break
        number += 1
    if status != 0:
        raise SystemExit(f"the process {number} ended with {status}")
    sys.stdout.write(f"{number}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
