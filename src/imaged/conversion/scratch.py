"""Scratch files in a folder of this machine: ``<root>/<attempt>/<name>``, private to their owner.

Each attempt has one thread for its files. A hanging disk delays no other attempt, and no file is
closed, and its descriptor reused, while a write to it is in flight.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any, TypeVar
from uuid import UUID

import anyio
from aiofiles.threadpool import wrap
from aiofiles.threadpool.binary import AsyncFileIO
from anyio import to_thread

from imaged.core.block import split_holes
from imaged.core.errors import ScratchError, ScratchFull
from imaged.core.limits import MIB, NO_SPACE_ERRNOS
from imaged.lanes import wait_shielded

T = TypeVar("T")

FOLDER_MODE = 0o700
SPACE_CHECK_EVERY_BYTES = 64 * MIB  # written between two checks of the free space


@dataclass(frozen=True, slots=True)
class ScratchSettings:
    """The folder, and the space that must stay free there."""

    root: Path
    min_free_bytes: int
    close_timeout: timedelta = timedelta(seconds=10)  # for a disk to finish what was cancelled


class LocalScratchFolder:
    """Scratch files of one attempt. Is a ``ScratchFolder`` (``ports/disk_image.py``)."""

    def __init__(self, path: Path, settings: ScratchSettings) -> None:
        self._path = path
        self._min_free_bytes = settings.min_free_bytes
        self._close_timeout = settings.close_timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scratch")

    def shut_down(self) -> None:
        """Release the thread once it has done its work."""
        self._thread.shutdown(wait=False)

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> Path:
        """Raises ScratchFull, ScratchError, and what ``chunks`` raises."""
        path = self._path / name
        with _explained(path):
            opened = await self._open(path, "xb")
        file: AsyncFileIO = wrap(opened, executor=self._thread)
        written_bytes = looked_at_bytes = 0
        try:
            await self.require_room()
            async for chunk in chunks:
                with _explained(path):
                    await _write_sparse(file, chunk, written_bytes)
                written_bytes += len(chunk)
                if written_bytes - looked_at_bytes >= SPACE_CHECK_EVERY_BYTES:
                    looked_at_bytes = written_bytes
                    await self.require_room()
        finally:
            with _explained(path):
                await self._close(opened)
        return path

    async def make(self, name: str) -> Path:
        """Raises ScratchError."""
        path = self._path / name
        with _explained(path):
            await self._run(partial(path.touch, exist_ok=False))
        return path

    async def read(self, name: str) -> AsyncGenerator[bytes]:
        """Raises ScratchError."""
        path = self._path / name
        with _explained(path):
            opened = await self._open(path, "rb")
            try:
                while chunk := await self._run(partial(opened.read, MIB)):
                    yield chunk
            finally:
                await self._close(opened)

    async def require_room(self) -> None:
        """Raises ScratchFull, ScratchError."""
        with _explained(self._path):
            free_bytes = (await self._run(partial(shutil.disk_usage, self._path))).free
        if free_bytes < self._min_free_bytes:
            why = f"{free_bytes} bytes are free, and {self._min_free_bytes} must stay so"
            raise ScratchFull(str(self._path), why)

    async def size_bytes(self, name: str) -> int:
        """Raises ScratchError."""
        path = self._path / name
        with _explained(path):
            return (await self._run(path.stat)).st_size

    async def _open(self, path: Path, mode: str) -> IO[bytes]:
        """Raises OSError. A file that is opened when it is not wanted any more is closed."""
        opening = self._thread.submit(open, path, mode, buffering=0)
        try:
            return await asyncio.wrap_future(opening)
        except asyncio.CancelledError:
            opening.add_done_callback(_close_unwanted)
            raise

    async def _close(self, file: IO[bytes]) -> None:
        """Close the file shielded from cancellation, waiting a limited time. Raises OSError.

        No task waits for it: the end of the event loop cancels tasks, and what they wait for.
        """
        closing = self._submit(file.close)
        await wait_shielded(closing, self._close_timeout)
        if closing.done():
            closing.result()  # NFS reports write errors only now

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._submit(work)

    def _submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._thread, work)


class LocalScratch:
    """Makes folders for attempts. Is a ``Scratch`` (``ports/disk_image.py``)."""

    def __init__(self, settings: ScratchSettings) -> None:
        self._root = settings.root
        self._settings = settings

    @asynccontextmanager
    async def folder(self, attempt: UUID) -> AsyncIterator[LocalScratchFolder]:
        """Raises ScratchError."""
        path = self._root / str(attempt)
        with _explained(path):
            await _in_thread(partial(_make, path))
        folder = LocalScratchFolder(path, self._settings)
        try:
            yield folder
        finally:
            folder.shut_down()
            with (
                anyio.move_on_after(self._settings.close_timeout.total_seconds(), shield=True),
                suppress(ScratchError),  # the cleanup removes the rest and reports it
            ):
                await self.remove(attempt)

    async def attempts(self) -> list[UUID]:
        """Raises ScratchError."""
        with _explained(self._root):
            return await _in_thread(self._attempts)

    async def remove(self, attempt: UUID) -> None:
        """Raises ScratchError."""
        path = self._root / str(attempt)
        with _explained(path):
            await _in_thread(partial(_remove, path))

    def _attempts(self) -> list[UUID]:
        try:
            return [attempt for path in self._root.iterdir() if (attempt := _attempt(path.name))]
        except FileNotFoundError:  # not created yet
            return []


async def _in_thread(work: Callable[[], T]) -> T:
    """Run in a thread. When cancelled, a thread that hangs is abandoned."""
    return await to_thread.run_sync(work, abandon_on_cancel=True)


def _close_unwanted(opening: Future[IO[Any]]) -> None:
    if not opening.cancelled() and opening.exception() is None:
        opening.result().close()


async def _write_sparse(file: AsyncFileIO, chunk: bytes, offset: int) -> None:
    """Write a chunk at offset ``offset``, the end of the file, with holes in place of zeros."""
    for piece in split_holes((chunk,), offset):
        if isinstance(piece, int):
            offset += piece
            await file.truncate(offset)
            await file.seek(offset)
            continue
        for part in piece:
            await _write_all(file, part)
            offset += len(part)


async def _write_all(file: AsyncFileIO, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[await file.write(rest) :]


def _attempt(name: str) -> UUID | None:
    """The attempt of this folder; None if imaged did not make it."""
    try:
        attempt = UUID(name)
    except ValueError:
        return None
    return attempt if str(attempt) == name else None


def _make(path: Path) -> None:
    path.mkdir(mode=FOLDER_MODE)


def _remove(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        kind = ScratchFull if error.errno in NO_SPACE_ERRNOS else ScratchError
        raise kind(str(path), error.strerror or str(error)) from error
