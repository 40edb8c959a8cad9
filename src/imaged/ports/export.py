"""What exports ask of a place for files, which an operator named (``[exports.NAME]``).

A file is visible there only when it is complete and durable, and never takes the place of another.
Until then, and for a while after, there is something of another name that begins with ``.imaged-``
and tells the task: so what a dead worker left can be told from what is in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Collection
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from imaged.core.block import Block


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One attempt of one task to deliver a file. ``file_name``: safe (``core/file_names.py``)."""

    task_id: str
    attempt: UUID
    file_name: str


class Destination(Protocol):
    """A place for files. Every method may raise ExportError; other errors of it never leave it."""

    @property
    def name(self) -> str:
        """The name that the configuration gives it; errors carry it."""
        ...

    @property
    def has_own_timeout(self) -> bool:
        """Whether each of its calls ends after a while, so that a slow one has not stalled.

        A disk that hangs never ends a call by itself.
        """
        ...

    def location_of(self, file_name: str) -> str:
        """Where a file of this name is, for people."""
        ...

    async def check(self) -> None:
        """Try everything that will be needed. Raises ExportError with what to do."""
        ...

    async def has(self, file_name: str) -> bool:
        """Whether something of this name is there, so that nothing can be delivered."""
        ...

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether the file is there because of this task: an attempt did it, and died after it.

        Known at least until ``remove``.
        """
        ...

    async def deliver(
        self,
        export_file: ExportFile,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
    ) -> int:
        """Write a file; its size in bytes. When it returns, the file is durable and visible.

        When it raises, or is cancelled, nothing is visible. An error raised by ``blocks`` passes
        through unchanged, and prevents that anything becomes so.

        Raises ExportExists, ExportFull, ExportError.
        """
        ...

    def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of a file that was delivered, about a mebibyte at a time."""
        ...

    async def leftovers(self) -> Collection[str]:
        """The ids of the tasks of which something unfinished, or no longer needed, is here."""
        ...

    async def remove(self, task_id: str) -> None:
        """Remove that, and let nothing of it be delivered any more. What was delivered stays."""
        ...

    async def close(self) -> None:
        """Let go of connections."""
        ...
