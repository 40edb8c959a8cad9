"""Exports to a folder pass the contract."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from contracts.export import DestinationContract, another_attempt, export_file
from contracts.store_bodies import PausedBody, body, body_that_must_not_end, some_bytes
from contracts.store_faulty_disks import Fault, FaultyDisk, TracedDisk
from imaged.core.errors import ExportError, ExportExists, ExportFull
from imaged.core.limits import MIB
from imaged.core.place_marker import MARKER_NAME
from imaged.exports.conventions import temporary_name
from imaged.exports.filesystem import FilesystemExport
from imaged.lanes import InlineLane, LaneFactory, ThreadLane
from imaged.stores.filesystem.disk import Disk
from imaged.stores.filesystem.settings import FilesystemSettings
from support.settings import configured
from support.waiting import wait_until


class OrderedDisk(TracedDisk):
    """Tells its calls with the names of the opened files."""

    def calls(self) -> list[str]:
        """The calls whose order matters."""
        opened, calls = dict[int, str](), list[str]()
        for call in self.trace:
            match call.name:
                case "open":
                    opened[call.result] = Path(call.args[0]).name
                case "writev" | "fsync":
                    calls.append(f"{call.name} {opened[call.args[0]]}")
                case "link" | "mkdir":
                    calls.append(call.name)
        return calls


class FolderBackdoor:
    """The files, as other programs see them."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def names(self) -> set[str]:
        """All files below the root."""
        found = (path for path in self._root.rglob("*") if not path.is_dir())
        return {str(path.relative_to(self._root)) for path in found} - {MARKER_NAME}

    async def read_raw(self, name: str) -> bytes | None:
        """The bytes of a file."""
        path = self._root / name
        return path.read_bytes() if path.exists() else None

    async def plant(self, name: str, data: bytes) -> None:
        """Another program's file."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    async def write_unfinished(self, name: str, data: bytes) -> None:
        """The same: an unfinished export is a file with another name."""
        await self.plant(name, data)


def folder(
    root: Path, disk: Disk | None = None, lanes: LaneFactory = ThreadLane, **settings: Any
) -> FilesystemExport:
    """A destination."""
    changed = configured(FilesystemSettings, path=root, **{"min_free_bytes": 0, **settings})
    return FilesystemExport("archive", changed, disk=disk, lanes=lanes)


def names_in(path: Path) -> list[str]:
    """All file names."""
    return [found.name for found in path.iterdir()]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder."""
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports"


class TestFolderDestination(DestinationContract):
    """The contract, and features of folders only."""

    @pytest.fixture
    def destination(self, root: Path) -> FilesystemExport:
        """Empty."""
        return folder(root)

    @pytest.fixture
    def door(self, root: Path) -> FolderBackdoor:
        """A back door to it."""
        return FolderBackdoor(root)

    async def test_permissions(self, root: Path) -> None:
        """Those of the settings, whatever the umask."""
        destination = folder(root, file_mode=0o640, folder_mode=0o750)
        mask = os.umask(0o777)
        try:
            await destination.deliver(export_file("a/b.raw"), body(b"bytes"))
        finally:
            os.umask(mask)

        assert stat.S_IMODE((root / "a").stat().st_mode) == 0o750
        assert stat.S_IMODE((root / "a/b.raw").stat().st_mode) == 0o640

    async def test_names_that_are_taken(self, root: Path, tmp_path: Path) -> None:
        """A planted link does not lead out of the root; a file is no folder, nor a folder a
        file.
        """
        (tmp_path / "outside").mkdir()
        (root / "way-out").symlink_to(tmp_path / "outside")
        (root / "dangling").symlink_to(tmp_path / "outside/new.raw")
        (root / "file").touch()
        (root / "folder").mkdir()

        for name in ("way-out/x.raw", "dangling", "file/x.raw", "folder"):
            assert await folder(root).has(name)
            with pytest.raises(ExportExists):
                await folder(root).deliver(export_file(name), body(b"bytes"))

        assert names_in(tmp_path / "outside") == []

    async def test_a_root_that_is_a_link(self, root: Path, tmp_path: Path) -> None:
        """The operator may want that."""
        (tmp_path / "link").symlink_to(root)

        await folder(tmp_path / "link").check()
        await folder(tmp_path / "link").deliver(export_file("a/x.raw"), body(b"bytes"))

        assert (root / "a/x.raw").read_bytes() == b"bytes"

    async def test_a_root_that_is_missing(self, tmp_path: Path) -> None:
        """It is not created, and every call gives the remedy."""
        destination = folder(tmp_path / "missing")

        with pytest.raises(ExportError, match="mount its filesystem, or create it"):
            await destination.check()
        for call in (
            destination.has("x"),
            destination.has_delivered(export_file()),
            destination.deliver(export_file(), body(b"bytes")),
            destination.leftovers(),
            destination.remove("x"),
        ):
            with pytest.raises(ExportError, match="mount its filesystem"):
                await call
        assert not (tmp_path / "missing").exists()

    async def test_min_free(self, root: Path) -> None:
        """An export that would use it is refused, and leaves nothing; a check passes."""
        destination = folder(root, min_free_bytes=1 << 60)

        with pytest.raises(ExportFull, match="min_free"):
            await destination.deliver(export_file(), body(b"bytes"), 5)

        await destination.check()
        assert names_in(root) == []

    async def test_zeros_take_no_space(self, root: Path) -> None:
        """The file has holes there, at its end too."""
        data = some_bytes(MIB) + bytes(8 * MIB) + some_bytes(MIB) + bytes(8 * MIB)

        await folder(root).deliver(export_file("disk.raw"), body(data))

        assert (root / "disk.raw").read_bytes() == data
        assert (root / "disk.raw").stat().st_blocks * 512 < 4 * MIB

    async def test_a_disk_that_is_full(self, root: Path) -> None:
        """In the middle of an export."""
        disk = FaultyDisk([Fault("writev", errno.ENOSPC)])

        with pytest.raises(ExportFull):
            await folder(root, disk).deliver(export_file(), body(some_bytes(3 * MIB)))

        assert names_in(root) == []

    async def test_a_filesystem_without_links(self, root: Path) -> None:
        """The check reports it."""
        disk = FaultyDisk([Fault("link", errno.EPERM)])

        with pytest.raises(ExportError, match="needs hard links"):
            await folder(root, disk).check()

        assert names_in(root) == []

    async def test_the_order_of_the_calls(self, root: Path) -> None:
        """Bytes are durable before they get their name, and the names before the caller returns."""
        disk, this = OrderedDisk(), export_file("a/b.raw")

        await folder(root, disk, InlineLane).deliver(this, body(b"bytes"))

        first = temporary_name(this)
        assert disk.calls() == [
            f"writev {first}",
            f"fsync {first}",
            "fsync exports",
            "mkdir",
            "fsync exports",
            "link",
            "fsync a",
        ]

    async def test_a_folder_that_was_there_is_made_durable_too(self, root: Path) -> None:
        """Its creator may have been killed before the sync; then the file would be lost with it."""
        (root / "a/b").mkdir(parents=True)
        disk = OrderedDisk()

        await folder(root, disk, InlineLane).deliver(export_file("a/b/c.raw"), body(b"bytes"))

        assert disk.calls()[-4:] == ["fsync exports", "fsync a", "link", "fsync b"]

    async def test_what_a_dead_attempt_published_is_made_durable(self, root: Path) -> None:
        """It may have died between its link and its sync."""
        disk, this = OrderedDisk(), export_file()
        await folder(root).deliver(this, body(b"bytes"))

        assert await folder(root, disk, InlineLane).has_delivered(another_attempt(this))

        assert disk.calls() == ["fsync exports"]

    @pytest.mark.parametrize("left", [None, b"", b"theirs"])
    async def test_a_name_that_is_not_durable_goes(self, root: Path, left: bytes | None) -> None:
        """If the last sync fails, nothing stays, except a file that another program put there
        meanwhile.
        """
        name = root / export_file().file_name

        class Forgetful(Disk):
            syncs = 0

            @staticmethod
            def fsync(fd: object) -> None:
                del fd
                Forgetful.syncs += 1
                if Forgetful.syncs == 3:
                    if left is not None:
                        name.unlink()
                    if left:
                        name.write_bytes(left)
                    raise OSError(errno.EIO, "lost")

        with pytest.raises(ExportError, match="kernel's log"):
            await folder(root, Forgetful()).deliver(export_file(), body(b"bytes"))

        assert names_in(root) == ([name.name] if left else [])
        assert await FolderBackdoor(root).read_raw(name.name) == (left or None)
        assert Forgetful.syncs == (4 if left is None else 3)  # that the file is gone is durable too

    async def test_an_attempt_that_hangs_after_its_link(self, root: Path) -> None:
        """It removes its file when it wakes up, so the next attempt does not rely on that file."""
        linked, wakes = threading.Event(), threading.Event()

        class Sleepy(Disk):
            @staticmethod
            def link(*args: Any, **named: Any) -> None:
                os.link(*args, **named)
                linked.set()
                wakes.wait()

        this = export_file("a/image.raw")
        delivering = asyncio.create_task(
            folder(root, Sleepy(), hung_thread_timeout=timedelta(0)).deliver(this, body(b"bytes"))
        )
        try:
            await asyncio.to_thread(linked.wait)
            delivering.cancel()
            with pytest.raises(asyncio.CancelledError):
                await delivering
            with pytest.raises(ExportError, match="may still take it away"):
                await folder(root).has_delivered(another_attempt(this))
        finally:
            wakes.set()

        wait_until(lambda: not (root / "a/image.raw").exists())
        assert not await folder(root).has_delivered(another_attempt(this))

    async def test_a_link_that_was_asked_for_twice(self, root: Path) -> None:
        """NFS repeats a call whose answer was lost, and reports that the name is taken."""

        class Repeating(Disk):
            @staticmethod
            def link(*args: Any, **named: Any) -> None:
                for _ in range(2):
                    os.link(*args, **named)

        this = export_file()
        await folder(root, Repeating()).deliver(this, body(b"bytes"))

        assert await folder(root).has_delivered(another_attempt(this))

    async def test_a_filesystem_without_locks(self, root: Path) -> None:
        """It needs none."""
        disk = FaultyDisk([Fault("flock", errno.ENOLCK, is_sticky=True)])
        destination, this = folder(root, disk), export_file()
        await destination.deliver(this, body(b"bytes"))

        assert await destination.has_delivered(another_attempt(this))

    async def test_a_long_export_that_is_over(self, root: Path) -> None:
        """It notices, and does not go on to its end. That causes no warning."""
        destination, this = folder(root, space_check_every_bytes=MIB), export_file()
        paused = PausedBody(b"first", some_bytes(20 * MIB))
        delivering = asyncio.create_task(destination.deliver(this, body_that_must_not_end(paused)))
        await paused.halted()
        await destination.remove(this.task_id)
        paused.release()

        with capture_logs() as log, pytest.raises(ExportError, match="discarded"):
            await delivering

        assert (names_in(root), log) == ([], [])


@pytest.mark.asyncio
async def test_a_filesystem_that_hangs_is_not_waited_for(tmp_path: Path) -> None:
    """Each call has a limit, and the error says what to check; the thread is abandoned, and closes
    what it opens when it wakes up.
    """
    answers, opened, closed = threading.Event(), list[int](), list[int]()
    (tmp_path / "b").touch()

    class HangingDisk(Disk):
        @staticmethod
        def open(*args: Any, **named: Any) -> int:
            answers.wait()
            opened.append(os.open(*args, **named))
            return opened[-1]

        @staticmethod
        def close(descriptor: int) -> None:
            os.close(descriptor)
            closed.append(descriptor)

    settings = configured(FilesystemSettings, path=tmp_path, min_free_bytes=0)
    folder = FilesystemExport(
        "archive", settings, disk=HangingDisk(), call_timeout=timedelta(seconds=0.1)
    )
    try:
        calls = folder.has("a"), folder.has_delivered(export_file("a")), folder.remove("t")
        for call in (*calls, anext(folder.read("b"))):
            with pytest.raises(ExportError, match=r"did not answer within 0\.1 s"):
                await call
    finally:
        answers.set()
    assert not await folder.has("a")
    wait_until(lambda: len(opened) == len(closed) == 5, lambda: (opened, closed))
