"""The filesystem store passes the contract, and what only a folder can show."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from pathlib import Path
from typing import Any, Never

import pytest
import pytest_asyncio
from crc32c import crc32c
from hypothesis import settings

from contracts.store import StoreContract
from contracts.store_backdoors import StoreBackdoor
from contracts.store_bodies import (
    PausedBody,
    Verdict,
    all_keys,
    body,
    body_that_must_not_end,
    new_key,
    read_all,
    some_bytes,
)
from contracts.store_deleting import BatchDeletionContract
from contracts.store_faulty_disks import SmallDisk
from contracts.store_folder import FolderBackdoor, folders, store_on, vanish
from contracts.store_reading import LastingReadersContract
from contracts.store_refusing import STORE_CALLS, LimitedStoreContract
from contracts.store_state_machine import StoreMachine, machine_settings
from contracts.store_writing import ExclusiveWritersContract
from imaged.core.errors import StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.ports.meter import ignore_measurement
from imaged.ports.store import CheckingReader, Store
from imaged.stores.filesystem.store import FilesystemStore
from imaged.stores.layout import SHARD_FOLDERS
from imaged.stores.metered import meter_store

LOW = 16 * MIB  # free space that every machine has


class TestFilesystemStore(
    StoreContract,
    ExclusiveWritersContract,
    LastingReadersContract,
    LimitedStoreContract,
    BatchDeletionContract,
):
    """The contract, and files, modes and space."""

    @pytest_asyncio.fixture
    async def store(self, root: Path) -> FilesystemStore:
        """Empty, checked, and on a real disk."""
        return await checked(store_on(root, min_free_bytes=LOW))

    @pytest.fixture
    def door(self, root: Path) -> FolderBackdoor:
        """A back door to it."""
        return FolderBackdoor(root)

    @pytest_asyncio.fixture
    async def small_store(self, root: Path) -> FilesystemStore:
        """A store with room for 4 MiB."""
        return await checked(store_on(root, SmallDisk(4 * MIB, LOW), min_free_bytes=LOW))

    @pytest.fixture
    def small_door(self, root: Path) -> FolderBackdoor:
        """A back door to it."""
        return FolderBackdoor(root)

    async def test_what_cannot_be_deleted_is_not_gone(
        self, store: FilesystemStore, root: Path
    ) -> None:
        """A folder in the place of a file, for example: others are deleted with the same call."""
        bad, good = new_key(), new_key()
        (root / bad).mkdir()
        await store.put(good, body(b"bytes"))

        assert await store.delete_batch([bad, good]) == [good]
        assert not (root / good).exists()

    @pytest.mark.parametrize("is_metered", [False, True])
    async def test_chunks_are_read_with_their_checksum(
        self, store: FilesystemStore, is_metered: bool
    ) -> None:
        """By one thread, from any offset; a blob that ends before is an error."""
        data, key = some_bytes(3 * MIB), new_key()
        await store.put(key, body(data))
        any_store = meter_store(store, ignore_measurement) if is_metered else store
        async with any_store.open(key, MIB) as reader:
            assert isinstance(reader, CheckingReader)
            chunks, checksum = await reader.read_checked([MIB, MIB - 7])
            assert list(chunks) == [data[MIB : 2 * MIB], data[2 * MIB : -7]]
            assert checksum == crc32c(data[MIB:-7])
            assert await reader.read(MIB) == data[-7:]
        async with any_store.open(key, 2 * MIB) as reader:
            assert isinstance(reader, CheckingReader)
            with pytest.raises(StoreError):
                await reader.read_checked([MIB, 1])

    async def test_zeros_take_no_space(self, store: FilesystemStore, root: Path) -> None:
        """The file has holes there, and the length of what was put."""
        key, data = new_key(), b"x" + bytes(8 * MIB) + b"y" + bytes(8 * MIB)

        await store.put(key, body(data))

        status = (root / key).stat()
        assert status.st_size == len(data)
        assert status.st_blocks * 512 < MIB

    @pytest.mark.parametrize("block_bytes", [1000, MIB])
    async def test_a_small_blob_is_written_by_one_call(self, root: Path, block_bytes: int) -> None:
        """Without lanes; a body that breaks off leaves nothing."""

        def forbidden(work: object, *, computes: bool = False) -> Never:
            raise AssertionError(work, computes)

        store = await checked(store_on(root, lanes=forbidden, min_free_bytes=LOW))
        key, data = new_key(), b"x" + bytes(5000) + b"y"
        with pytest.raises(LookupError):
            await store.put(new_key(), body(data, block_bytes, LookupError()), len(data))
        assert await store.put(key, body(data, block_bytes), len(data)) == len(data)
        assert (root / key).read_bytes() == data
        assert [found async for found in store.list_keys()] == [key]

    async def test_the_layout(self, store: FilesystemStore, root: Path) -> None:
        """The folders of the drawing exist, all of them, from the beginning."""
        assert {*folders(root)} == {".tmp", *SHARD_FOLDERS}

        key, paused = new_key(), PausedBody(b"half")
        async with asyncio.TaskGroup() as group:
            group.create_task(store.put(key, paused))
            await paused.halted()

            assert (root / ".tmp" / key[3:]).is_file()

            paused.release()
        assert (root / key).is_file()
        assert list((root / ".tmp").iterdir()) == []

    @pytest.mark.parametrize(
        ("changes", "file_mode", "folder_mode"),
        [({}, 0o600, 0o700), ({"file_mode": 0o640, "folder_mode": 0o2750}, 0o640, 0o2750)],
    )
    async def test_modes_are_settings(
        self, root: Path, changes: dict[str, Any], file_mode: int, folder_mode: int
    ) -> None:
        """Private to the owner by default; an operator may let a group read. The umask is nothing
        to either.
        """
        key, former = new_key(), os.umask(0o077)
        try:
            store = await checked(store_on(root, **changes))
            await store.put(key, body(b"bytes"))
        finally:
            os.umask(former)

        assert stat.S_IMODE((root / key).stat().st_mode) == file_mode
        assert {*folders(root).values()} == {folder_mode}

    @pytest.mark.parametrize("is_cancelled", [False, True])
    async def test_a_failed_write_frees_its_space_at_once(
        self, store: FilesystemStore, door: FolderBackdoor, *, is_cancelled: bool
    ) -> None:
        """Its name waits for the scrubber; its space is free."""
        key, paused = new_key(), PausedBody(some_bytes(3 * MIB))
        task = asyncio.create_task(store.put(key, body_that_must_not_end(paused)))
        await paused.halted()
        (task.cancel if is_cancelled else paused.release)()
        (error,) = await asyncio.gather(task, return_exceptions=True)

        assert type(error) is (asyncio.CancelledError if is_cancelled else Verdict)
        assert door.unfinished() == {key[3:]: 0}

    async def test_min_free_stays_free(self, root: Path) -> None:
        """Below the watermark nothing is written, and the error says what to change. A check
        passes: the scrubber, which frees space, must start.
        """
        store = await checked(store_on(root, min_free_bytes=1 << 60))

        with pytest.raises(StoreFull, match="min_free") as full:
            await store.put(new_key(), body(b"", ending=Verdict("the body was asked")))

        assert str(root) in str(full.value)

    @pytest.mark.usefixtures("store")
    async def test_long_writes_look_at_the_watermark_again(self, root: Path) -> None:
        """Space that others take during a write is noticed before the disk is full."""
        store = store_on(root, SmallDisk(100 * MIB), min_free_bytes=90 * MIB)

        with pytest.raises(StoreFull, match="min_free"):
            await store.put(new_key(), body(some_bytes(20 * MIB)))

    async def test_long_writes_notice_that_they_are_deleted(self, root: Path) -> None:
        """A write that can no longer complete does not go on to its end."""
        store = await checked(store_on(root))
        key, paused = new_key(), PausedBody(b"first", some_bytes(20 * MIB))
        task = asyncio.create_task(store.put(key, body_that_must_not_end(paused)))
        await paused.halted()
        await store.delete(key)
        paused.release()

        with pytest.raises(StoreError, match="discarded"):
            await task

    async def test_a_filesystem_that_goes_is_not_a_delete(
        self, store: FilesystemStore, root: Path
    ) -> None:
        """A writer whose filesystem vanishes gets that error, not one about a deleted write."""
        key, paused = new_key(), PausedBody(b"half")
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()
        vanish(root)
        paused.release()

        with pytest.raises(StoreError, match="mounted") as trouble:
            await task

        assert type(trouble.value) is StoreError

    async def test_a_blob_that_was_cut_is_an_error(
        self, store: FilesystemStore, door: FolderBackdoor, root: Path
    ) -> None:
        """A file that is truncated while it is read never looks like the end of the blob."""
        key = new_key()
        await door.plant(key, some_bytes(2 * MIB))

        async with store.open(key) as reader:
            await reader.read(MIB)
            os.truncate(root / key, MIB + 5)
            with pytest.raises(StoreError, match=f"ends after {MIB + 5} of {2 * MIB}"):
                await reader.read(MIB)

    async def test_links_are_not_followed(
        self, store: FilesystemStore, root: Path, tmp_path: Path
    ) -> None:
        """A symbolic link with a key's name is neither read nor listed."""
        key, elsewhere = new_key(), tmp_path / "elsewhere"
        elsewhere.write_bytes(b"of another program")
        (root / key).symlink_to(elsewhere)

        with pytest.raises(StoreError, match="symbolic link"):
            await read_all(store, key)
        assert [key async for key in store.list_keys()] == []

    @pytest.mark.parametrize("operation", [*STORE_CALLS, "list"])
    async def test_a_filesystem_that_is_gone_is_not_an_empty_one(
        self, store: FilesystemStore, root: Path, operation: str
    ) -> None:
        """If the folders are missing, no blob is reported missing and no delete succeeds."""
        vanish(root)

        with pytest.raises(StoreError, match="mounted") as trouble:
            await {**STORE_CALLS, "list": all_keys}[operation](store, new_key())

        assert type(trouble.value) is StoreError


async def checked(store: FilesystemStore) -> FilesystemStore:
    """The store, once its check has made its folders."""
    await store.check()
    return store


class FilesystemStoreMachine(StoreMachine):
    """Any order of operations."""

    async def make(self) -> tuple[Store, StoreBackdoor]:
        """A fresh folder."""
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        return await checked(store_on(root)), FolderBackdoor(root)

    def teardown(self) -> None:
        """The folder is removed when no write is open any more."""
        super().teardown()
        self.folder.cleanup()


TestFilesystemStoreMachine = FilesystemStoreMachine.TestCase
TestFilesystemStoreMachine.settings = settings(machine_settings, max_examples=6)
