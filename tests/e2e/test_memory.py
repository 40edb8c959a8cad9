"""Memory is flat: the size of an image has nothing to do with that of the daemon, whether its store
is a folder, a bucket, or a bucket that is slow.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from imaged.core.limits import MIB
from support.backend import Backend, FolderBackend, ServersBackend, servers
from support.client import OCTETS, Client
from support.daemon import Daemon
from support.seaweedfs import SeaweedFS
from support.tcp_proxy import ThrottledProxy

UPLOAD_MIB = int(os.environ.get("IMAGED_TEST_UPLOAD_MIB", "144"))
SLOW_BYTES_PER_SECOND = 40e6
BUDGET_MIB = 32
ALLOWANCE_MIB = 64
PATIENCE_SECONDS = 60 + UPLOAD_MIB // 10
SETTINGS = {
    "claims": {"lease": "60s", "renew_every": "10s"},  # no instance dies here
    "uploads": {"transfer_budget": f"{BUDGET_MIB}MiB"},
}

CROWD = 12
ANNOUNCED_BYTES = 1 << 40
SENT_MIB = 12

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]


async def chunks(count: int) -> AsyncIterator[bytes]:
    """A body of this size in MiB, without a length."""
    block = os.urandom(MIB)
    for number in range(count):
        yield number.to_bytes(8, "big") + block[8:]


@asynccontextmanager
async def backend_of(kind: str, s3: SeaweedFS, folder: Path) -> AsyncIterator[Backend]:
    """What the daemon stands on."""
    if kind == "folder":
        yield FolderBackend(folder)
    elif kind == "bucket":
        async with servers(s3.endpoint) as backend:
            yield backend
    else:
        async with (
            ThrottledProxy(s3.port, SLOW_BYTES_PER_SECOND).running() as line,
            servers(line.url) as backend,
        ):
            yield backend


@pytest.mark.parametrize(
    "kind", ["folder", pytest.param("bucket", marks=pytest.mark.nightly), "slow bucket"]
)
async def test_an_upload_of_unknown_size_takes_no_more_than_its_budget(
    kind: str, s3: SeaweedFS, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Peak memory stays within 64 MiB of idle plus the transfer budget, there and back."""
    async with backend_of(kind, s3, tmp_path) as backend:
        daemon = Daemon(tmp_path, SETTINGS, on=backend)
        await daemon.start()
        try:
            idle = daemon.peak_memory_mib()
            async with Client(daemon.url, patience_seconds=PATIENCE_SECONDS) as client:
                image_id = await client.create()
                assert await client.put(image_id, chunks(UPLOAD_MIB)) == 204
                up = daemon.peak_memory_mib()
                shown = await client.show(image_id)
                assert shown["size"] == UPLOAD_MIB * MIB
                assert await client.digest(image_id) == shown["os_hash_value"]
                down = daemon.peak_memory_mib()
        finally:
            await daemon.end(signal.SIGKILL)

    for name, peak in (("idle_mib", idle), ("up_mib", up), ("down_mib", down)):
        record_property(name, peak)
    assert max(up, down) <= idle + BUDGET_MIB + ALLOWANCE_MIB, f"{idle}, {up}, {down} MiB"


async def test_memory_does_not_follow_the_size_that_is_announced(
    shared: ServersBackend, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A crowd of uploads of 1 TiB, whose parts are of 117 MiB, stays within the budget."""
    daemon = Daemon(tmp_path, SETTINGS, on=shared)
    await daemon.start()
    try:
        idle = daemon.peak_memory_mib()
        peak = await _peak_of_a_crowd(daemon)
    finally:
        await daemon.end(signal.SIGKILL)

    record_property("idle_mib", idle)
    record_property("peak_mib", peak)
    assert peak <= idle + BUDGET_MIB + ALLOWANCE_MIB, f"idle {idle}, peak {peak} MiB"


async def _peak_of_a_crowd(daemon: Daemon) -> float:
    """When the first bytes of all of them were sent, and none of them has ended."""
    sent = [asyncio.Event() for _ in range(CROWD)]

    async def body(all_sent: asyncio.Event) -> AsyncIterator[bytes]:
        async for chunk in chunks(SENT_MIB):
            yield chunk
        all_sent.set()
        await asyncio.Event().wait()

    async def upload(all_sent: asyncio.Event) -> None:
        status, why = await client.request(
            "PUT",
            f"/v2/images/{await client.create()}/file",
            data=body(all_sent),
            headers={**OCTETS, "Content-Length": str(ANNOUNCED_BYTES)},
        )
        raise AssertionError(f"answered before the end: {status} {why!r}")

    async with Client(daemon.url) as client, asyncio.TaskGroup() as uploads:
        tasks = [uploads.create_task(upload(event)) for event in sent]
        async with asyncio.timeout(PATIENCE_SECONDS):
            for event in sent:
                await event.wait()
        peak = daemon.peak_memory_mib()
        for task in tasks:
            task.cancel()
    return peak
