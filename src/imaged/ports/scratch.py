"""Temporary files of an attempt at a task.

Their folder is named after the attempt, so that leftovers of a dead worker can be told from files
in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from uuid import UUID


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
