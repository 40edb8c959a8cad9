"""Room for files that an attempt at a task needs, and that nobody needs after it.

Its name is the attempt's, so that what a dead worker left can be told from what is in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol
from uuid import UUID


class ScratchFolder(Protocol):
    """The files of one attempt, by names that the program chose."""

    async def write(self, name: str, chunks: AsyncIterable[bytes]) -> Path:
        """Make a file of these bytes. Raises ScratchFull, and what ``chunks`` raises."""
        ...

    async def make(self, name: str) -> Path:
        """Make an empty file, for another program to write to."""
        ...

    def read(self, name: str) -> AsyncGenerator[bytes]:
        """The bytes of a file, about a mebibyte at a time."""
        ...

    async def require_room(self) -> None:
        """Raises ScratchFull where less is free than must stay free."""
        ...

    async def size_bytes(self, name: str) -> int:
        """How long a file is."""
        ...


class Scratch(Protocol):
    """All of them. Raises ScratchError where the disk cannot do it."""

    def folder(self, attempt: UUID) -> AbstractAsyncContextManager[ScratchFolder]:
        """Files for this attempt; they are gone afterwards."""
        ...

    async def attempts(self) -> Collection[UUID]:
        """The attempts that have files here."""
        ...

    async def remove(self, attempt: UUID) -> None:
        """Remove the files of an attempt that is over. Where there are none, that is fine."""
        ...
