"""The interface of export destinations, which operators configure (``[exports.NAME]``).

A file is visible there only when it is complete and durable, and never replaces another. Until
then, and for a while after, there is a file whose name begins with ``.imaged-`` and contains the
task's id: so leftovers of a dead worker can be told from files in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from imaged.core.block import Blocks


@dataclass(frozen=True, slots=True)
class ExportFile:
    """One attempt of one task to deliver a file.

    ``file_name``: valid by the rules of ``services/tasks/types/export.py``.
    """

    task_id: str
    attempt: UUID
    file_name: str


class Destination(Protocol):
    """A place for files. Every method may raise ExportError, and no other error of the driver."""

    @property
    def name(self) -> str:
        """The name in the configuration; errors contain it."""
        ...

    @property
    def has_own_timeout(self) -> bool:
        """Whether each of its calls times out by itself, so that a slow one has not stalled.

        A call to a disk that hangs never times out.
        """
        ...

    def location_of(self, file_name: str) -> str:
        """The location of a file of this name, for people."""
        ...

    async def check(self) -> None:
        """Try every operation that will be needed. Raises ExportError with a remedy."""
        ...

    async def has(self, file_name: str) -> bool:
        """Whether a file of this name exists, so that nothing can be delivered."""
        ...

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether this task delivered the file: an attempt did, and was lost afterwards.

        The answer is available at least until ``remove``.
        """
        ...

    async def deliver(
        self, export_file: ExportFile, blocks: Blocks, expected_bytes: int | None = None
    ) -> int:
        """Write a file; return its size in bytes. On return the file is durable and visible.

        If it raises or is cancelled, nothing is visible. An error raised by ``blocks`` propagates
        unchanged, and prevents the delivery.

        Raises ExportExists, ExportFull, ExportError.
        """
        ...

    def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of a delivered file, in chunks of about 1 MiB."""
        ...

    async def leftovers(self) -> Collection[str]:
        """The ids of tasks with files here that are unfinished or no longer needed."""
        ...

    async def remove(self, task_id: str) -> None:
        """Remove these files of a task, and stop its delivery. Delivered files stay."""
        ...

    async def close(self) -> None:
        """Close connections."""
        ...
