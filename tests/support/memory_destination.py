"""A destination of exports in memory, for virtual time; it sits the same exam as real ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from imaged.core.block import Block
from imaged.core.errors import ExportError, ExportExists
from imaged.exports.conventions import task_id_of, temporary_name
from imaged.ports.export import ExportFile


@dataclass
class MemoryDestination:
    """Is a Destination. ``unfinished``: the bytes of each attempt, by its name."""

    name: str = "archive"
    files: dict[str, bytes] = field(default_factory=dict)
    makers: dict[str, str] = field(default_factory=dict)  # the task that delivered a file
    unfinished: dict[str, bytes] = field(default_factory=dict)
    has_own_timeout: bool = False
    error: ExportError | None = None  # raised by every call

    def location_of(self, file_name: str) -> str:
        """Nowhere."""
        return f"memory://{self.name}/{file_name}"

    async def check(self) -> None:
        """All is well, unless it is not."""
        await self._begin()

    async def has(self, file_name: str) -> bool:
        """Whether it is there."""
        await self._begin()
        return file_name in self.files

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether the task made it."""
        await self._begin()
        return self.makers.get(export_file.file_name) == export_file.task_id

    async def deliver(
        self,
        export_file: ExportFile,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
    ) -> int:
        """Take the blocks, and then all of it becomes a file."""
        del expected_bytes
        await self._begin()
        self._require_free(export_file)
        name = temporary_name(export_file)
        self.unfinished[name] = b""
        try:
            async for block in blocks:
                await self._begin()
                self.unfinished[name] += b"".join(block.chunks)
                del block
            self._require_free(export_file)
            self.files[export_file.file_name] = self.unfinished[name]
            self.makers[export_file.file_name] = export_file.task_id
        except KeyError:
            raise ExportError(self.name, "discarded the export") from None
        finally:
            if export_file.file_name not in self.makers:
                self.unfinished.pop(name, None)
        return len(self.files[export_file.file_name])

    async def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes."""
        await self._begin()
        if data := self.files[file_name]:
            yield data

    async def leftovers(self) -> set[str]:
        """The tasks that began something."""
        await self._begin()
        return {task_id for name in self.unfinished if (task_id := task_id_of(name))}

    async def remove(self, task_id: str) -> None:
        """Forget that."""
        await self._begin()
        for name in [name for name in self.unfinished if task_id_of(name) == task_id]:
            del self.unfinished[name]
        self.makers = {name: maker for name, maker in self.makers.items() if maker != task_id}

    async def close(self) -> None:
        """Nothing is held."""

    async def _begin(self) -> None:
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error

    def _require_free(self, export_file: ExportFile) -> None:
        if export_file.file_name in self.files:
            raise ExportExists(self.name, export_file.file_name)
