"""The filesystem store on disks that hang, with callers that stop waiting."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from contracts.store_bodies import all_keys, body, new_key, read_all, some_bytes
from contracts.store_faulty_disks import HangingDisk
from contracts.store_folder import FolderBackdoor, open_files, store_on
from imaged.core.limits import MIB
from imaged.lanes import ThreadLane
from imaged.stores.filesystem.disk import Disk
from imaged.stores.filesystem.store import FilesystemStore
from support.waiting import wait_until

pytestmark = pytest.mark.asyncio

DATA = some_bytes(2 * MIB + 1)


def impatient_store(root: Path, disk: Disk) -> FilesystemStore:
    """A store that does not wait long for a thread that hangs."""
    lanes = partial(ThreadLane, close_timeout_seconds=0.02)
    return store_on(root, disk, lanes, hung_thread_timeout=timedelta(seconds=0.02))


@pytest.mark.parametrize("call", ["open", "writev", "fdatasync", "fsync", "rename"])
async def test_a_disk_that_hangs(root: Path, call: str) -> None:
    """A writer gives up in the end. The thread that hung closes the descriptor, so that its number
    is not reused meanwhile, and nothing is visible then either.
    """
    key, well = new_key(), store_on(root)
    await well.check()
    with HangingDisk(call) as disk:
        task = asyncio.create_task(impatient_store(root, disk).put(key, body(DATA)))
        await disk.hung()

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held = open_files(root)
        await well.put(other := new_key(), body(DATA))

    assert held == ([] if call == "open" else [str(root / ".tmp" / key[3:])])
    await asyncio.to_thread(wait_until, lambda: open_files(root) == [])
    await asyncio.to_thread(wait_until, lambda: _is_emptied(root, key))
    assert await FolderBackdoor(root).read_raw(key) is None
    assert await FolderBackdoor(root).read_raw(other) == DATA


def _is_emptied(root: Path, key: str) -> bool:
    return FolderBackdoor(root).unfinished() == {key[3:]: 0}


async def test_a_disk_that_hangs_under_a_reader(root: Path) -> None:
    """The same for a cancelled reader."""
    await store_on(root).check()
    key = new_key()
    await store_on(root).put(key, body(DATA))
    with HangingDisk("pread") as disk:
        task = asyncio.create_task(read_all(impatient_store(root, disk), key))
        await disk.hung()

        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held = open_files(root)

    assert held == [str(root / key)]
    await asyncio.to_thread(wait_until, lambda: open_files(root) == [])


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_commit_that_is_cancelled_is_taken_back(root: Path, times: int) -> None:
    """Cancelled after the rename and before the folder is synced, however often: not visible."""
    await store_on(root).check()
    key = new_key()
    with FolderSyncHangs() as disk:
        task = asyncio.create_task(store_on(root, disk).put(key, body(DATA)))
        await disk.hung()
        assert await FolderBackdoor(root).read_raw(key) == DATA

        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        disk.release()
        with pytest.raises(asyncio.CancelledError):
            await task

    await asyncio.to_thread(wait_until, lambda: _is_emptied(root, key))
    assert await FolderBackdoor(root).read_raw(key) is None


async def test_a_cancelled_commit_is_waited_for(root: Path) -> None:
    """After one cancellation nothing is visible once the cancelled write has returned."""
    await store_on(root).check()
    key = new_key()
    with FolderSyncHangs() as disk:
        async with anyio.create_task_group() as group:
            group.start_soon(store_on(root, disk).put, key, body(DATA))
            await disk.hung()
            group.cancel_scope.cancel()
            asyncio.get_running_loop().call_later(0.05, disk.release)

        assert await FolderBackdoor(root).read_raw(key) is None
        assert _is_emptied(root, key)


class FolderSyncHangs(HangingDisk):
    """Hangs when a folder is synced, but not when a file is."""

    def __init__(self) -> None:
        super().__init__("fsync")

    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == "fsync" and not stat.S_ISDIR(os.fstat(args[0]).st_mode):
            return call(*args, **named)
        return super()._watched(name, call, *args, **named)


@pytest.mark.parametrize("is_published", [False, True])
async def test_a_delete_while_a_name_moves(root: Path, is_published: bool) -> None:
    """A commit or a rollback renames the file while a delete removes it: under either name."""
    await store_on(root).check()
    key = new_key()
    places = [root / ".tmp" / key[3:], root / key]
    source, target = reversed(places) if is_published else places
    source.write_bytes(b"no longer needed")

    class Meanwhile(Disk):
        """The writer renames the file as soon as the delete has checked one name."""

        @staticmethod
        def unlink(path: Path) -> None:  # type: ignore[override]  # narrower
            try:
                path.unlink()
            finally:
                if source.exists():
                    source.rename(target)

    await store_on(root, Meanwhile()).delete(key)

    assert await all_keys(store_on(root)) == []
