"""The interfaces for disk images: inspection of their bytes, checks, conversion of formats.

An inspector detects the disk format while the bytes pass; nothing is stored for it. An import check
is the deployer's: a virus scan, a signature, a list. It is loaded from the entry points
``imaged.import_checks``, each a callable without arguments that returns an ``ImportCheck``; see
docs/how-to/add-a-task-type.md. A converter needs files, which a scratch folder has: it is named
after the attempt at a task, so that leftovers of a dead worker can be told from files in use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import UUID

from imaged.core.disk_format import Findings


class Inspector(Protocol):
    """Inspects one stream, in order, with at most a few MiB of it in memory.

    It is fed in a lane beside the event loop and must not touch anything else.
    """

    def feed(self, chunk: bytes) -> None:
        """Inspect the next bytes. Never raises because of their content."""
        ...

    def findings(self) -> Findings:
        """Return the findings, once, after the end of the stream."""
        ...


InspectorFactory = Callable[[], Inspector]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportFacts:
    """The facts about an image that are known before its bytes."""

    owner: str
    disk_format: str
    properties: Mapping[str, object]  # as the client wrote them
    source: str  # the host that sends the bytes, after redirects; "" for staged data


class ImportCheckRun(Protocol):
    """The check of one stream, run in a thread beside the event loop."""

    def feed(self, chunk: bytes) -> None:
        """Examine the next bytes, in order."""
        ...

    def verdict(self) -> str | None:
        """After the last byte: None, or why the image is refused, in words for its owner."""
        ...


class ImportCheck(Protocol):
    """A check. An error that it raises fails the import: no image passes unchecked."""

    @property
    def name(self) -> str:
        """The name in the log and in messages."""
        ...

    def begin(self, facts: ImportFacts) -> ImportCheckRun:
        """Begin the check of one image."""
        ...


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
