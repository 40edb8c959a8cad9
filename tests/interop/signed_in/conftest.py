"""A cloud whose users sign in through a real Keystone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from support import disk_images
from support.cloud import Cloud, running_cloud
from support.keystone import Keystone

DISK = disk_images.raw()


@pytest_asyncio.fixture
async def cloud(tmp_path: Path, keystone: Keystone) -> AsyncIterator[Cloud]:
    """Keystone and a daemon, with ``disk.raw`` in its folder, where clients run."""
    (tmp_path / "disk.raw").write_bytes(DISK)
    async with running_cloud(tmp_path, keystone) as cloud:
        yield cloud
