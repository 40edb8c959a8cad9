"""Memory is flat: the size of an image has nothing to do with that of the daemon."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from imaged.core.limits import MIB
from support.client import Client
from support.daemon import Daemon

UPLOAD_MIB = int(os.environ.get("IMAGED_TEST_UPLOAD_MIB", "160"))
BUDGET_MIB = 32
ALLOWANCE_MIB = 64

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600)]


async def chunks(count: int) -> AsyncIterator[bytes]:
    """A body of this size in MiB, without a length."""
    block = os.urandom(MIB)
    for number in range(count):
        yield number.to_bytes(8, "big") + block[8:]


async def test_an_upload_of_unknown_size_takes_no_more_than_its_budget(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Peak memory stays within 64 MiB of idle plus the transfer budget."""
    daemon = Daemon(tmp_path, {"uploads": {"transfer_budget": f"{BUDGET_MIB}MiB"}})
    await daemon.start()
    try:
        idle = daemon.peak_memory_mib()
        async with Client(daemon.url) as client:
            image_id = await client.create()
            assert await client.put(image_id, chunks(UPLOAD_MIB)) == 204
            assert (await client.show(image_id))["size"] == UPLOAD_MIB * MIB
            peak = daemon.peak_memory_mib()
            record_property("idle_mib", idle)
            record_property("peak_mib", peak)
            assert peak <= idle + BUDGET_MIB + ALLOWANCE_MIB, f"idle {idle}, peak {peak} MiB"
            await client.digest(image_id)
            assert daemon.peak_memory_mib() <= idle + BUDGET_MIB + ALLOWANCE_MIB
    finally:
        await daemon.end(signal.SIGKILL)
