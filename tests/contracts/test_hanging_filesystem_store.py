"""The store in a folder, on disks that hang, and in hands that lose their patience."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from contracts.store_bodies import all_keys, body, new_key, read_all, some_bytes
from contracts.store_disks import HangingDisk
from contracts.store_folder import FolderDoor, audited, open_files, store_on, wait_until
from imaged.core.limits import MIB
from imaged.stores.disk import Disk

pytestmark = pytest.mark.asyncio

DATA = some_bytes(2 * MIB + 1)


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """An empty folder, audited at the end."""
    with audited(tmp_path / "store") as root:
        yield root


@pytest.mark.parametrize("call", ["open", "writev", "fdatasync", "fsync", "rename"])
async def test_a_disk_that_hangs(root: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer gives up in the end; its descriptor is closed by the thread that hung with it, so
    that the number is not another file's meanwhile; and nothing is visible then either.
    """
    monkeypatch.setattr("imaged.lanes.LAST_ITEM_SECONDS", 0.02)
    monkeypatch.setattr("imaged.stores.filesystem.CLEAN_UP_PATIENCE", timedelta(seconds=0.02))
    await store_on(root).check()
    key, disk, well = new_key(), HangingDisk(call), store_on(root)
    task = asyncio.create_task(store_on(root, disk).put(key, body(DATA)))
    await asyncio.to_thread(disk.hangs.wait)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held = open_files(root)
    await well.put(other := new_key(), body(DATA))
    disk.released.set()

    assert held == ([] if call == "open" else [str(root / ".tmp" / key[3:])])
    assert await asyncio.to_thread(wait_until, lambda: open_files(root) == [])
    assert await asyncio.to_thread(
        wait_until, lambda: FolderDoor(root).unfinished() == {key[3:]: 0}
    )
    assert await FolderDoor(root).dig(key) is None
    assert await FolderDoor(root).dig(other) == DATA


async def test_a_disk_that_hangs_under_a_reader(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same for a reader that is cancelled."""
    monkeypatch.setattr("imaged.stores.filesystem.CLEAN_UP_PATIENCE", timedelta(seconds=0.02))
    await store_on(root).check()
    key, disk = new_key(), HangingDisk("pread")
    await store_on(root).put(key, body(DATA))
    task = asyncio.create_task(read_all(store_on(root, disk), key))
    await asyncio.to_thread(disk.hangs.wait)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    held = open_files(root)
    disk.released.set()

    assert held == [str(root / key)]
    assert await asyncio.to_thread(wait_until, lambda: open_files(root) == [])


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_commit_that_is_cancelled_is_taken_back(root: Path, times: int) -> None:
    """Cancelled after the rename and before the folder is synced, however often: not visible."""
    await store_on(root).check()
    key, disk = new_key(), FolderSyncHangs()
    task = asyncio.create_task(store_on(root, disk).put(key, body(DATA)))
    await asyncio.to_thread(disk.hangs.wait)
    assert await FolderDoor(root).dig(key) == DATA

    for _ in range(times):
        task.cancel()
        await asyncio.sleep(0)
    disk.released.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert await asyncio.to_thread(
        wait_until, lambda: FolderDoor(root).unfinished() == {key[3:]: 0}
    )
    assert await FolderDoor(root).dig(key) is None


class FolderSyncHangs(HangingDisk):
    """Hangs when a folder is synced, and not when a file is."""

    def __init__(self) -> None:
        super().__init__("fsync")

    def _watched(self, name: str, call: Callable[..., Any], *args: Any) -> Any:
        if name == "fsync" and not stat.S_ISDIR(os.fstat(args[0]).st_mode):
            return call(*args)
        return super()._watched(name, call, *args)


async def test_a_delete_while_a_commit_is_taken_back(root: Path) -> None:
    """The name goes back under the hands of a delete, and the delete finds it there."""
    await store_on(root).check()
    key = new_key()
    whole, unfinished = root / key, root / ".tmp" / key[3:]
    whole.write_bytes(b"published, and not kept")

    class Meanwhile(Disk):
        """The writer takes its name back when the delete has looked at the temporary one."""

        @staticmethod
        def unlink(path: Path) -> None:  # type: ignore[override]  # narrower
            try:
                path.unlink()
            finally:
                if path == unfinished and whole.exists():
                    whole.rename(unfinished)

    await store_on(root, Meanwhile()).delete(key)

    assert await all_keys(store_on(root)) == []
