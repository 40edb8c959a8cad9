"""Conversion of a disk image from one format to another, and the temporary files that it needs.

The folder of the files is named after the attempt at a task, so that leftovers of a dead worker can
be told from files in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from uuid import UUID

ProgressCallback = Callable[[float], None]  # called with the completed share, from 0 to 1


class Converter(Protocol):
    """Converts files. Their content is untrusted."""

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raise ConversionRefused if the conversion is impossible, whatever the bytes are."""
        ...

    async def convert(
        self,
        source: Path,
        source_format: str,
        target: Path,
        target_format: str,
        tell: ProgressCallback,
    ) -> None:
        """Write the target, which exists and is empty.

        ``source_format`` is the detected format of the bytes: it is not detected again. When the
        call is cancelled or raises ConversionFailed, no process of it is left; the target is
        undefined.
        """
        ...


class ScratchFolder(Protocol):
    """The files of one attempt, under names chosen by the program."""

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> Path:
        """Create a file with these bytes. Raises ScratchFull, and the errors of ``chunks``."""
        ...

    async def make(self, name: str) -> Path:
        """Create an empty file for another program to write."""
        ...

    def read(self, name: str) -> AsyncGenerator[bytes]:
        """The bytes of a file, in chunks of about 1 MiB."""
        ...

    async def require_room(self) -> None:
        """Raise ScratchFull if the free space is below the reserve."""
        ...

    async def size_bytes(self, name: str) -> int:
        """The size of a file."""
        ...


class Scratch(Protocol):
    """The scratch files of all attempts. Raises ScratchError if the disk fails."""

    def folder(self, attempt: UUID) -> AbstractAsyncContextManager[ScratchFolder]:
        """Files for this attempt; they are removed at the end."""
        ...

    async def attempts(self) -> Collection[UUID]:
        """The attempts that have files here."""
        ...

    async def remove(self, attempt: UUID) -> None:
        """Remove the files of an attempt that has ended, if there are any."""
        ...
