"""Exports by processes that are killed at any moment: the next attempt recovers."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest

from contracts.export import DestinationBackdoor, another_attempt, read_back
from contracts.export_s3 import ExportBackdoor
from contracts.store_bodies import body
from contracts.store_bucket import settings_for
from exports.test_filesystem import FolderBackdoor
from imaged.ports.export import Destination
from support.kill_harness.export_process import (
    EXPORTED_FILE,
    LARGE_DATA,
    SMALL_DATA,
    bucket_at,
    folder_at,
)
from support.seaweedfs import SeaweedFS

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(240)]

TESTS = Path(__file__).parents[1]


async def kill_exports(*arguments: str) -> int:
    """Kill a process at every moment; returns how many."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "support.kill_harness.export_process", *arguments,
        stdout=PIPE, stderr=PIPE, env={**os.environ, "PYTHONPATH": str(TESTS)},
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return int(output)


async def require_recovery(
    destination: Destination, door: DestinationBackdoor, data: bytes
) -> bool:
    """Whatever was left: the file is complete or missing, and the next attempt exports it.

    Returns whether it had been exported already.
    """
    again = another_attempt(EXPORTED_FILE)
    assert await door.read_raw(EXPORTED_FILE.file_name) in {None, data}
    is_delivered = await destination.has_delivered(again)
    assert is_delivered == await destination.has(EXPORTED_FILE.file_name)
    if not is_delivered:
        await destination.remove(again.task_id)
        assert await door.names() == set()
        await destination.deliver(again, body(data))
    assert await read_back(destination, EXPORTED_FILE.file_name) == data
    await destination.remove(again.task_id)
    assert await door.names() == {EXPORTED_FILE.file_name}
    assert not await destination.has_delivered(replace(again, task_id=str(uuid4())))
    return is_delivered


async def test_exports_to_a_folder_are_killed(tmp_path: Path) -> None:
    """Before each call to the operating system."""
    count = await kill_exports("folder", str(tmp_path))

    found = [
        await require_recovery(
            folder_at(str(tmp_path), number), FolderBackdoor(tmp_path / str(number)), SMALL_DATA
        )
        for number in range(count + 1)
    ]

    assert count > 20
    assert found == sorted(found)  # once exported, it stays so
    assert 0 < sum(found) < count


async def test_exports_to_a_bucket_are_killed(s3: SeaweedFS) -> None:
    """Before each call of S3."""
    prefix = f"tests/{uuid4().hex}"
    count = await kill_exports("bucket", s3.endpoint, prefix)

    found = [await _recover(s3.endpoint, prefix, number) for number in range(count + 1)]

    assert count >= 10
    assert 0 < sum(found) < count


async def _recover(endpoint: str, prefix: str, number: int) -> bool:
    bucket = bucket_at(endpoint, prefix, number)
    door = ExportBackdoor(settings_for(endpoint, prefix=f"{prefix}/{number}"))
    try:
        return await require_recovery(bucket, door, LARGE_DATA)
    finally:
        await bucket.close()
