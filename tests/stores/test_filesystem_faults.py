"""The filesystem store on disks that return errors."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from contracts.store_bodies import PausedBody, all_keys, body, new_key, read_all, some_bytes
from contracts.store_faulty_disks import Fault, FaultyDisk, os_error
from contracts.store_folder import FolderBackdoor, open_files, rehearsals, store_on
from imaged.core.errors import StoreError, StoreFull, WriteDiscarded
from imaged.core.limits import MIB
from imaged.stores.filesystem.disk import Disk
from imaged.stores.filesystem.store import FilesystemStore

pytestmark = pytest.mark.asyncio

DATA = some_bytes(2 * MIB + 1)
FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
NUMBERS = [*FULL, errno.EIO, errno.EMFILE, errno.EACCES, errno.EROFS]
HARMLESS = {"close"}  # calls whose failure changes nothing


async def _put(store: FilesystemStore, key: str) -> int:
    return await store.put(key, body(DATA), len(DATA))


async def _read(store: FilesystemStore, key: str) -> None:
    assert await read_all(store, key) == DATA


async def _list(store: FilesystemStore, key: str) -> None:
    assert await all_keys(store, key[:3]) == [key]


Operation = Callable[[FilesystemStore, str], Awaitable[Any]]

#: What a disk may interrupt; the second ones need a blob.
OPERATIONS: dict[str, Operation] = {"put": _put, "check": lambda store, _: store.check()}
ON_A_BLOB: dict[str, Operation] = {"read": _read, "delete": FilesystemStore.delete, "list": _list}


async def _prepare(name: str, store: FilesystemStore, key: str) -> Operation:
    if name in OPERATIONS:
        return OPERATIONS[name]
    await _put(store, key)
    return ON_A_BLOB[name]


async def _calls_of(root: Path, name: str) -> dict[str, int]:
    """How often a run without errors makes each call."""
    key, disk = new_key(), FaultyDisk()
    operation = await _prepare(name, store_on(root), key)
    await operation(store_on(root, disk), key)
    await store_on(root).delete(key)
    return disk.counts


@pytest.mark.parametrize(
    ("number", "is_sticky"),
    [*((number, False) for number in NUMBERS), (errno.ENOSPC, True), (errno.EIO, True)],
)
@pytest.mark.parametrize("name", [*OPERATIONS, *ON_A_BLOB])
async def test_every_call_may_fail(root: Path, name: str, number: int, is_sticky: bool) -> None:
    """Whichever call fails, once or from then on: one of imaged's errors, nothing incomplete is
    visible, and once the disk works again a delete leaves nothing.
    """
    well, door = store_on(root), FolderBackdoor(root)
    await well.check()
    for call, count in (await _calls_of(root, name)).items():
        for nth in {1, min(2, count), count}:
            key = new_key()
            fault = Fault(call, number, nth, is_sticky)
            operation = await _prepare(name, well, key)

            problem = await _problem(operation(store_on(root, FaultyDisk([fault])), key))

            _judge(name, fault, problem)
            if name == "put":
                assert await door.read_raw(key) == (DATA if problem is None else None), fault
            await well.delete(key)
            assert await all_keys(well) == [], fault
            assert open_files(root) == [], fault
            assert rehearsals(root) == 0 or fault.name == "unlink", fault


async def _problem(run: Awaitable[Any]) -> StoreError | None:
    try:
        await run
    except StoreError as error:
        return error
    return None


def _judge(name: str, fault: Fault, problem: StoreError | None) -> None:
    if fault.name in HARMLESS:
        assert problem is None or name in {"delete", "check", "put"}, fault
    elif problem is None:
        assert name == "check", fault  # it accepts a full disk
        assert fault.number in FULL or fault.name == "unlink", fault
    else:
        assert isinstance(problem, StoreFull) == (fault.number in FULL), (fault, problem)
        assert os.strerror(fault.number) in str(problem)
        assert str(problem).startswith("The store 'local' cannot use /")
        assert isinstance(problem.__cause__, OSError)


@pytest.mark.parametrize("nth", [1, 2])
async def test_a_failed_flush_is_never_forgotten(root: Path, nth: int) -> None:
    """A kernel reports lost bytes once, so a later fsync that succeeds means nothing."""
    await store_on(root).check()
    key, disk = new_key(), FaultyDisk([Fault("fdatasync", errno.EIO, nth)])

    with pytest.raises(StoreError, match="kernel's log"):
        await store_on(root, disk).put(key, body(DATA))

    assert await FolderBackdoor(root).read_raw(key) is None


@pytest.mark.parametrize("faults", [[], [errno.EINVAL], [errno.ENOSYS]], ids=str)
async def test_a_commit_never_replaces(root: Path, faults: list[int]) -> None:
    """A blob that appeared meanwhile stays. Without such a rename, links do the same."""
    disk = FaultyDisk([Fault("rename", number, is_sticky=True) for number in faults])
    store = store_on(root, disk)
    await store.check()
    key, taken, paused = new_key(), new_key(), PausedBody(b"half")
    await store.put(key, body(DATA))

    assert await read_all(store, key) == DATA
    assert FolderBackdoor(root).unfinished() == {}

    async with asyncio.TaskGroup() as group:
        put = group.create_task(_problem(store.put(taken, paused)))
        await paused.halted()
        await FolderBackdoor(root).plant(taken, b"of another")
        paused.release()
    assert type(put.result()).__name__ == "BlobExists"
    assert await FolderBackdoor(root).read_raw(taken) == b"of another"


@pytest.mark.parametrize("call", ["link", "unlink"])
@pytest.mark.parametrize("number", NUMBERS, ids=errno.errorcode.get)
async def test_links_that_fail(root: Path, call: str, number: int) -> None:
    """A second name that cannot be removed is harmless; one that cannot be created is an error."""
    await store_on(root).check()
    faults = [Fault("rename", errno.EINVAL, is_sticky=True), Fault(call, number)]
    store, key = store_on(root, FaultyDisk(faults)), new_key()

    problem = await _problem(store.put(key, body(DATA)))

    assert (problem is None) == (call == "unlink")
    assert await FolderBackdoor(root).read_raw(key) == (DATA if problem is None else None)
    assert await all_keys(store) == [key]
    await store.delete(key)
    assert await all_keys(store) == []


async def test_a_delete_between_the_links(root: Path) -> None:
    """In two steps, too, a commit that meets a delete is discarded."""

    class Between(Disk):
        """The temporary name is deleted as soon as the second name exists."""

        @staticmethod
        def rename(_source: Path, _target: Path) -> None:
            raise os_error(errno.EINVAL)

        @staticmethod
        def link(source: Path, target: Path) -> None:  # type: ignore[override]  # narrower
            os.link(source, target)
            source.unlink()
            target.unlink()

    await store_on(root).check()

    with pytest.raises(WriteDiscarded):
        await store_on(root, Between()).put(new_key(), body(DATA))

    assert await all_keys(store_on(root)) == []


async def test_a_kernel_that_takes_little(root: Path) -> None:
    """Short writes and short reads are continued, byte by byte if necessary."""

    class Miserly(Disk):
        """Takes and returns a few bytes at once."""

        @staticmethod
        def writev(descriptor: int, chunks: Any) -> int:
            return os.write(descriptor, b"".join(chunks)[:7])

        @staticmethod
        def pread(descriptor: int, length: int, offset: int) -> bytes:
            return os.pread(descriptor, min(length, 5), offset)

    store, key = store_on(root, Miserly()), new_key()
    await store.check()

    await store.put(key, body(some_bytes(1000), 100))

    assert await FolderBackdoor(root).read_raw(key) == some_bytes(1000)
    assert await read_all(store, key) == some_bytes(1000)


async def test_a_kernel_that_takes_nothing(root: Path) -> None:
    """A write without progress ends in an error instead of looping."""

    class Sated(Disk):
        """Takes nothing, and reports no error."""

        @staticmethod
        def writev(_descriptor: int, _chunks: Any) -> int:
            return 0

    await store_on(root).check()

    with pytest.raises(StoreError, match="Input/output error"):
        await store_on(root, Sated()).put(new_key(), body(DATA))


async def test_a_file_that_grows_too_large(root: Path) -> None:
    """The kernel's error for a process with a file size limit becomes StoreFull."""
    await store_on(root).check()
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB + 5, hard))
    try:
        with pytest.raises(StoreFull, match=r"The store 'local' cannot use .*File too large"):
            await store_on(root).put(new_key(), body(DATA))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
