"""What the check of a filesystem store reports about its folder."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from contracts.store_bodies import body, new_key
from contracts.store_faulty_disks import Fault, FaultyDisk, TracedDisk
from contracts.store_folder import FolderBackdoor, folders, rehearsals, store_on, vanish
from imaged.core.errors import StoreError
from imaged.stores.filesystem.disk import Disk

pytestmark = pytest.mark.asyncio


async def test_a_missing_root_is_not_created(tmp_path: Path) -> None:
    """In the place of a mount point, nothing is created."""
    path = tmp_path / "missing"

    with pytest.raises(StoreError, match="missing: mount its filesystem, or create it") as trouble:
        await store_on(path).check()

    assert str(path) in str(trouble.value)
    assert folders(tmp_path) == {}


async def test_a_root_that_is_no_folder(tmp_path: Path) -> None:
    """A file cannot be a store."""
    path = tmp_path / "file"
    path.write_bytes(b"")

    with pytest.raises(StoreError, match="needs a folder"):
        await store_on(path).check()


async def test_a_folder_on_another_filesystem(root: Path) -> None:
    """A rename would be a copy there, so it is refused at start, with both names."""

    class Apart(Disk):
        """Another filesystem is mounted on one of the folders."""

        @staticmethod
        def stat(path: Path) -> os.stat_result:  # type: ignore[override]  # narrower
            status = [*path.stat()]
            status[2] += path.name == "7f"  # st_dev
            return os.stat_result(status)

    with pytest.raises(StoreError, match="on one filesystem") as trouble:
        await store_on(root, Apart()).check()

    assert "7f" in str(trouble.value)
    assert ".tmp" in str(trouble.value)


async def test_a_rename_across_mounts(root: Path) -> None:
    """Two mounts of one filesystem look alike until a rename is tried."""
    disk = FaultyDisk([Fault("rename", errno.EXDEV, is_sticky=True)])

    with pytest.raises(StoreError, match="must be on one filesystem"):
        await store_on(root, disk).check()


async def test_a_check_makes_what_is_missing(root: Path) -> None:
    """Missing folders are created again, and their parent is synced."""
    store = store_on(root)
    await store.check()
    vanish(root)

    await store.check()
    await store.put(key := new_key(), body(b"bytes"))

    assert await FolderBackdoor(root).read_raw(key) == b"bytes"


@pytest.mark.parametrize("was_there", [False, True])
async def test_a_check_syncs_the_folders(root: Path, *, was_there: bool) -> None:
    """Before anything is written into them: also those that were there, as their creator may have
    been killed before it synced them, and a blob would be lost with its folder.
    """
    if was_there:
        await store_on(root).check()
    disk = TracedDisk()

    await store_on(root, disk).check()

    made = [place for place, call in enumerate(disk.trace) if call.name == "mkdir"]
    written = [call.name for call in disk.trace].index("writev")
    opened, synced = dict[int, Path](), set[Path]()
    for call in disk.trace[made[-1] if made else 0 : written]:
        if call.name == "open":
            opened[call.result] = call.args[0]
        elif call.name == "fsync":
            synced.add(opened[call.args[0]])
    assert len(made) == (0 if was_there else 257)
    assert root in synced


@pytest.mark.parametrize(
    ("uid", "owner", "handed_over"), [(0, 1234, 257), (0, 0, 0), (1234, 1234, 0), (1234, 0, 0)]
)
async def test_folders_belong_to_root_only_in_a_store_of_root(
    root: Path, monkeypatch: pytest.MonkeyPatch, uid: int, owner: int, handed_over: int
) -> None:
    """They belong to root only if the store does: a daemon that starts later must be able to use
    them.

    Other users may be members of the group that the store belongs to, but cannot give files away.
    """
    given = []

    class Owned(Disk):
        @staticmethod
        def stat(path: Path) -> os.stat_result:  # type: ignore[override]  # narrower
            status = [*path.stat()]
            status[4:6] = owner, 99  # st_uid, st_gid
            return os.stat_result(status)

        @staticmethod
        def chown(path: Path, *to: int) -> None:  # type: ignore[override]  # narrower
            given.append((path, to))

    monkeypatch.setattr(os, "geteuid", lambda: uid)
    await store_on(root, Owned()).check()

    made = [root / name for name in folders(root)]
    assert sorted(path for path, _ in given) == (sorted(made) if handed_over else [])
    assert {to for _, to in given} <= {(owner, 99)}
    assert len(given) == handed_over


@pytest.mark.parametrize("call", ["open", "writev", "fsync"])
async def test_a_disk_that_is_full_to_the_last_byte(root: Path, call: str) -> None:
    """It is no reason not to start, though there may be no room for the test file."""
    await store_on(root).check()
    disk = FaultyDisk([Fault(call, errno.ENOSPC, is_sticky=True)])

    await store_on(root, disk).check()

    assert disk.faults[0].seen > 0


async def test_a_folder_from_which_nothing_can_be_removed(root: Path) -> None:
    """A store whose bytes can never be deleted is refused at start."""
    disk = FaultyDisk([Fault("unlink", errno.EACCES, is_sticky=True)])

    with pytest.raises(StoreError, match="must belong to the user"):
        await store_on(root, disk).check()

    assert rehearsals(root) == 1


@pytest.mark.parametrize("folder", [".tmp", "00"])
async def test_a_check_removes_what_an_earlier_one_left(root: Path, folder: str) -> None:
    """Leftovers of a check that was killed more than a day ago; not those of a running one, nor
    other files.
    """
    store, key = store_on(root), new_key()
    await store.check()
    names = [".rehearsal-old", ".rehearsal-new", ".foreign", key[3:]]
    old, new, *others = paths = [root / folder / name for name in names]
    for path in paths:
        path.write_bytes(b"imaged")
    for path in (old, *others):
        os.utime(path, (0, 0))

    await store.check()

    assert [path for path in paths if path.exists()] == [new, *others]
    for path in (new, *others):
        path.unlink()
