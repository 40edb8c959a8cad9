"""Sources of a push: a file, a block device or standard input."""

from __future__ import annotations

import os
import stat
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from anyio import to_thread

from imaged.client.errors import FileChanged, FileUnusable
from imaged.client.format_guess import HEAD_BYTES
from imaged.client.progress import Progress
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.limits import MIB

SOURCE_DIGESTS = (CHECKSUM, "sha512")
STANDARD_INPUT = Path("-")


class Source:
    """The bytes of a file or device, which can be read again, or of a pipe, which cannot."""

    def __init__(self, name: str, file: FileIO) -> None:
        mode = os.fstat(file.fileno()).st_mode
        self.name = name
        self._file = file
        self._head = b""
        self.is_repeatable = stat.S_ISREG(mode) or stat.S_ISBLK(mode)
        self.size_bytes = file.seek(0, os.SEEK_END) if self.is_repeatable else None
        self.digests: dict[str, str] = {}  # hexadecimal, of all bytes, after a complete read

    async def head(self) -> bytes:
        """The first bytes, which ``blocks`` yields too. Raises FileUnusable."""
        if not self._head:
            self._rewind()
            while len(self._head) < HEAD_BYTES and (piece := await self._read(HEAD_BYTES)):
                self._head += piece
        return self._head

    async def blocks(self, progress: Progress) -> AsyncGenerator[bytes]:
        """All bytes, in blocks. Raises FileUnusable, FileChanged."""
        digests = {algorithm: Digest(algorithm) for algorithm in SOURCE_DIGESTS}
        read_bytes, block = 0, self._head
        if self.is_repeatable:
            self._rewind()
            block = b""
        while block := block or await self._read(MIB):
            read_bytes += len(block)
            if self.size_bytes is not None and read_bytes > self.size_bytes:
                raise FileChanged(self.name)
            await to_thread.run_sync(_feed, digests, block)
            yield block
            progress.advance(len(block))
            block = b""
        if self.size_bytes not in {None, read_bytes}:
            raise FileChanged(self.name)
        self.digests = {name: digest.hexdigest() for name, digest in digests.items()}

    def _rewind(self) -> None:
        if self.is_repeatable:
            self._file.seek(0)

    async def _read(self, limit_bytes: int) -> bytes:
        try:
            return await to_thread.run_sync(self._file.read, limit_bytes, abandon_on_cancel=True)
        except OSError as error:
            raise FileUnusable(f"{self.name} cannot be read: {error.strerror}.") from error


@contextmanager
def open_source(path: Path) -> Iterator[Source]:
    """Open a file, or standard input for ``-``. Raises FileUnusable."""
    try:
        file = FileIO(0, closefd=False) if path == STANDARD_INPUT else FileIO(path)
    except OSError as error:
        raise FileUnusable(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield Source(str(path), file)


def _feed(digests: dict[str, Digest], block: bytes) -> None:
    for digest in digests.values():
        digest.feed([block])
