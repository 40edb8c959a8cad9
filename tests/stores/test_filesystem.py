"""The filesystem store passes the contract, and what only a folder can show."""

from __future__ import annotations

import asyncio
import os
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
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
from contracts.store_faulty_disks import SmallDisk
from contracts.store_folder import FolderBackdoor, audited, folders, store_on, vanish
from contracts.store_reading import LastingReadersContract
from contracts.store_refusing import STORE_CALLS, LimitedStoreContract
from contracts.store_state_machine import StoreMachine, machine_settings
from contracts.store_writing import ExclusiveWritersContract
from imaged.core.errors import BlobExists, StoreError, StoreFull
from imaged.core.limits import MIB
from imaged.ports.store import Store
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.store import FilesystemStore
from imaged.stores.layout import SHARD_FOLDERS
from support.settings import configured

LOW = 16 * MIB  # free space that every machine has


class TestFilesystemStore(
    StoreContract, ExclusiveWritersContract, LastingReadersContract, LimitedStoreContract
):
    """The contract, and files, modes and space."""

    @pytest.fixture
    def root(self, tmp_path: Path) -> Iterator[Path]:
        """An empty folder, audited at the end."""
        with audited(tmp_path / "store") as root:
            yield root

    @pytest_asyncio.fixture
    async def store(self, root: Path) -> AsyncIterator[FilesystemStore]:
        """Empty, checked, and on a real disk."""
        often = configured(FilesystemSettings, path=root, min_free_bytes=LOW, flush_every_bytes=MIB)
        store = FilesystemStore("local", often)
        await store.check()
        yield store

    @pytest.fixture
    def door(self, root: Path) -> FolderBackdoor:
        """A back door to it."""
        return FolderBackdoor(root)

    @pytest_asyncio.fixture
    async def small_store(self, root: Path) -> FilesystemStore:
        """A store with room for 4 MiB."""
        low = configured(FilesystemSettings, path=root, min_free_bytes=LOW)
        store = FilesystemStore("local", low, disk=SmallDisk(4 * MIB, LOW))
        await store.check()
        return store

    @pytest.fixture
    def small_door(self, root: Path) -> FolderBackdoor:
        """A back door to it."""
        return FolderBackdoor(root)

    async def test_zeros_take_no_space(self, store: FilesystemStore, root: Path) -> None:
        """The file has holes there, and the length of what was put."""
        key, data = new_key(), b"x" + bytes(8 * MIB) + b"y" + bytes(8 * MIB)

        await store.put(key, body(data))

        status = (root / key).stat()
        assert status.st_size == len(data)
        assert status.st_blocks * 512 < MIB

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

    async def test_only_the_owner_may_look(self, store: FilesystemStore, root: Path) -> None:
        """By default files and folders are private to their owner, whatever the umask."""
        key = new_key()
        await store.put(key, body(b"secret"))

        assert stat.S_IMODE((root / key).stat().st_mode) == 0o600
        assert {*folders(root).values()} == {0o700}

    async def test_modes_are_settings(self, tmp_path: Path) -> None:
        """An operator may let a group read, and the umask does not revoke that."""
        with audited(tmp_path / "shared") as root:
            shared = configured(
                FilesystemSettings, path=root, min_free_bytes=0, file_mode=0o640, folder_mode=0o2750
            )
            store = FilesystemStore("local", shared)
            former = os.umask(0o077)
            try:
                await store.check()
                key = new_key()
                await store.put(key, body(b"shared"))
            finally:
                os.umask(former)

            assert stat.S_IMODE((root / key).stat().st_mode) == 0o640
            assert {*folders(root).values()} == {0o2750}

    async def test_a_failed_write_frees_its_space_at_once(
        self, store: FilesystemStore, door: FolderBackdoor
    ) -> None:
        """Its name waits for the scrubber; its space is free."""
        key = new_key()
        with pytest.raises(Verdict):
            await store.put(key, body(some_bytes(3 * MIB), ending=Verdict("no")))

        assert door.unfinished() == {key[3:]: 0}

    async def test_a_cancelled_write_frees_its_space_at_once(
        self, store: FilesystemStore, door: FolderBackdoor
    ) -> None:
        """The same for a cancelled write."""
        key, paused = new_key(), PausedBody(some_bytes(3 * MIB))
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

        assert door.unfinished() == {key[3:]: 0}

    async def test_min_free_stays_free(self, root: Path) -> None:
        """Below the watermark nothing is written, and the error says what to change."""
        store = FilesystemStore(
            "local", configured(FilesystemSettings, path=root, min_free_bytes=1 << 60)
        )
        await store.check()

        with pytest.raises(StoreFull, match="min_free") as full:
            await store.put(new_key(), body(b"", ending=Verdict("the body was asked")))

        assert str(root) in str(full.value)

    @pytest.mark.usefixtures("store")
    async def test_long_writes_look_at_the_watermark_again(self, root: Path) -> None:
        """Space that others take during a write is noticed before the disk is full."""
        disk = SmallDisk(100 * MIB)
        high = configured(
            FilesystemSettings,
            path=root,
            min_free_bytes=90 * MIB,
            space_check_every_bytes=2 * MIB,
        )
        store = FilesystemStore("local", high, disk=disk)

        with pytest.raises(StoreFull, match="min_free"):
            await store.put(new_key(), body(some_bytes(20 * MIB)))

    async def test_long_writes_notice_that_they_are_deleted(self, root: Path) -> None:
        """A write that can no longer complete does not go on to its end."""
        store = store_on(root)
        await store.check()
        key, paused = new_key(), PausedBody(b"first", some_bytes(20 * MIB))
        paused_to_the_end = body_that_must_not_end(paused)
        task = asyncio.create_task(store.put(key, paused_to_the_end))
        await paused.halted()
        await store.delete(key)
        paused.release()

        with pytest.raises(StoreError, match="discarded"):
            await task

    async def test_a_commit_never_replaces(
        self, store: FilesystemStore, door: FolderBackdoor
    ) -> None:
        """A blob that appeared under the name meanwhile stays, and the writer gets an error."""
        key, paused = new_key(), PausedBody(b"ours")
        task = asyncio.create_task(store.put(key, paused))
        await paused.halted()
        await door.plant(key, b"of another")
        paused.release()

        with pytest.raises(BlobExists):
            await task

        assert await door.read_raw(key) == b"of another"

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

    async def test_other_processes_see_the_same(self, store: FilesystemStore, root: Path) -> None:
        """Two store objects on one folder see the same blobs."""
        other = FilesystemStore(
            "local", configured(FilesystemSettings, path=root, min_free_bytes=LOW)
        )
        key = new_key()
        await store.put(key, body(b"shared"))

        assert await read_all(other, key) == b"shared"
        await other.delete(key)
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


class FilesystemStoreMachine(StoreMachine):
    """Any order of operations."""

    async def make(self) -> tuple[Store, StoreBackdoor]:
        """A fresh folder."""
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        store = FilesystemStore(
            "local", configured(FilesystemSettings, path=root, min_free_bytes=LOW)
        )
        await store.check()
        return store, FolderBackdoor(root)

    def teardown(self) -> None:
        """The folder is removed when no write is open any more."""
        super().teardown()
        self.folder.cleanup()


TestFilesystemStoreMachine = FilesystemStoreMachine.TestCase
TestFilesystemStoreMachine.settings = settings(machine_settings, max_examples=10)
