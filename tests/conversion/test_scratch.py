"""Scratch files on a real disk."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import stat
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

import anyio
import pytest

from imaged.conversion import scratch as disk
from imaged.conversion.scratch import LocalScratch, LocalScratchFolder, ScratchSettings
from imaged.core.errors import ClientVanished, ScratchError, ScratchFull

pytestmark = pytest.mark.asyncio

BODY = os.urandom(3_000_000)


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """These, one by one."""
    for part in parts:
        yield part


@pytest.fixture
def scratch(tmp_path: Path) -> LocalScratch:
    """An unused one."""
    (tmp_path / "scratch").mkdir()
    return LocalScratch(ScratchSettings(tmp_path / "scratch", 0))


@pytest.fixture
def impatient(tmp_path: Path) -> LocalScratch:
    """One that does not wait long for a disk."""
    (tmp_path / "scratch").mkdir()
    return LocalScratch(ScratchSettings(tmp_path / "scratch", 0, timedelta(seconds=0.1)))


async def test_written_bytes_can_be_read(scratch: LocalScratch) -> None:
    """In order, and with its size."""
    async with scratch.folder(uuid4()) as folder:
        path = await folder.write("source", chunks(BODY[:1000], BODY[1000:]))

        assert path.read_bytes() == BODY
        assert await folder.size_bytes("source") == len(BODY)
        assert b"".join([chunk async for chunk in folder.read("source")]) == BODY


async def test_zeros_take_no_space(scratch: LocalScratch) -> None:
    """A file has holes there, also at its end."""
    data = BODY + bytes(9_000_000) + b"x" + bytes(9_000_000)
    async with scratch.folder(uuid4()) as folder:
        path = await folder.write("source", chunks(data[:5_000_000], data[5_000_000:]))

        assert path.read_bytes() == data
        assert path.stat().st_blocks * 512 < 4_000_000


async def test_other_users_may_not_look(scratch: LocalScratch, tmp_path: Path) -> None:
    """The folder is private to its owner, whatever the umask."""
    attempt = uuid4()
    async with scratch.folder(attempt):
        mode = (tmp_path / "scratch" / str(attempt)).stat().st_mode
    assert stat.S_IMODE(mode) == 0o700


async def test_nothing_is_left(scratch: LocalScratch) -> None:
    """Also if the work failed in the middle of a file."""

    async def broken() -> AsyncIterator[bytes]:
        yield BODY
        raise ClientVanished

    attempt = uuid4()
    async with scratch.folder(attempt) as folder:
        assert await scratch.attempts() == [attempt]
        await folder.make("target")
        with pytest.raises(ClientVanished):
            await folder.write("source", broken())

    assert await scratch.attempts() == []


async def test_files_of_a_dead_worker_are_removed(scratch: LocalScratch, tmp_path: Path) -> None:
    """By its attempt, also twice; other files stay."""
    attempt = uuid4()
    (tmp_path / "scratch" / str(attempt)).mkdir()
    (tmp_path / "scratch" / str(attempt) / "source").write_bytes(BODY)
    (tmp_path / "scratch" / "lost+found").mkdir()
    (tmp_path / "scratch" / attempt.hex).mkdir()

    assert await scratch.attempts() == [attempt]
    await scratch.remove(attempt)
    await scratch.remove(attempt)

    assert await scratch.attempts() == []
    left = {path.name for path in (tmp_path / "scratch").iterdir()}
    assert left == {"lost+found", attempt.hex}


async def test_files_that_cannot_be_removed_are_left(
    scratch: LocalScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The work was done, and its result is valid. The cleanup removes the rest and reports it."""

    def broken(_: Path) -> NoReturn:
        raise OSError(errno.EIO, "broken")

    attempt = uuid4()
    with monkeypatch.context() as patch:
        patch.setattr(disk, "_remove", broken)
        async with scratch.folder(attempt) as folder:
            await folder.make("target")
        with pytest.raises(ScratchError):
            await scratch.remove(attempt)

    assert await scratch.attempts() == [attempt]


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """It has no attempts, and its error shows the path to the operator only."""
    scratch = LocalScratch(ScratchSettings(tmp_path / "missing", 0))

    assert await scratch.attempts() == []
    with pytest.raises(ScratchError) as trouble:
        async with scratch.folder(uuid4()):
            pytest.fail("there is no folder")
    assert str(tmp_path) in str(trouble.value)
    assert str(tmp_path) not in trouble.value.for_clients


async def test_a_disk_without_room(scratch: LocalScratch) -> None:
    """The error says so, so that the task can be retried later."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with scratch.folder(uuid4()) as folder:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, before[1]))
        try:
            with pytest.raises(ScratchFull):
                await folder.write("source", chunks(BODY))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_min_free(tmp_path: Path) -> None:
    """The catalog may be on the same disk: a conversion ends before that is full."""
    scratch = LocalScratch(ScratchSettings(tmp_path, min_free_bytes=2**62))

    async with scratch.folder(uuid4()) as folder:
        with pytest.raises(ScratchFull, match="must stay so"):
            await folder.write("source", chunks(BODY))
        with pytest.raises(ScratchFull):
            await folder.require_room()


async def test_a_disk_that_hangs_is_left(
    impatient: LocalScratch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cancelled attempt ends, and so does the cleanup's list; the threads are abandoned."""
    answers = threading.Event()
    monkeypatch.setattr(disk, "_remove", lambda _: answers.wait())
    monkeypatch.setattr(LocalScratch, "_attempts", lambda _: answers.wait())
    try:
        async with impatient.folder(uuid4()):
            pass
        with anyio.move_on_after(0.1) as patience:
            await impatient.attempts()
    finally:
        answers.set()

    assert patience.cancelled_caught


async def test_a_hanging_disk_keeps_no_other_waiting(
    impatient: LocalScratch, tmp_path: Path
) -> None:
    """The shared threads, used for the checksums of S3 for one, stay free: here there is one."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    attempt = uuid4()
    pipe = tmp_path / "scratch" / str(attempt) / "target"
    async with impatient.folder(attempt) as folder:
        os.mkfifo(pipe)
        writer = os.open(pipe, os.O_RDWR)  # that writes nothing, so reading hangs
        try:
            with anyio.move_on_after(0.1) as patience:
                await anext(folder.read("target"))
            await asyncio.wait_for(asyncio.to_thread(int), 10)
        finally:
            os.close(writer)

    assert patience.cancelled_caught


async def test_a_file_is_closed_though_the_loop_has_ended(
    impatient: LocalScratch, tmp_path: Path
) -> None:
    """The end of the event loop cancels its tasks, but not what a disk has still to do."""
    attempt = uuid4()
    pipe = tmp_path / "scratch" / str(attempt) / "target"

    async def leave_a_hanging_read() -> tuple[LocalScratchFolder, int]:
        async with impatient.folder(attempt) as folder:
            os.mkfifo(pipe)
            writer = os.open(pipe, os.O_RDWR)
            with anyio.move_on_after(0.1):
                await anext(folder.read("target"))
            return folder, writer

    folder, writer = await asyncio.to_thread(asyncio.run, leave_a_hanging_read())
    os.close(writer)
    folder._thread.shutdown(wait=True)  # pytest fails for files that are left open
