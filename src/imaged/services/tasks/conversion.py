"""Bytes in one disk format become bytes in another, in scratch files: the steps of it.

The converter reads what was examined a moment before, from a file that nobody else can reach: so
what was found is what it reads.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import anyio

from imaged.core.disk_format import Findings, FormatPolicy, require_declared
from imaged.core.errors import FormatRefused
from imaged.ports.converter import Converter
from imaged.ports.inspector import InspectorFactory
from imaged.ports.scratch import Scratch, ScratchFolder
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.examination import Examination, Examiner

CONVERTING = "converting"
TELL_SECONDS = 1

STRICT = FormatPolicy()  # here it does not matter what uploads may be


@dataclass(frozen=True, slots=True)
class Converted:
    """The disk in its new format."""

    size_bytes: int
    chunks: AsyncGenerator[bytes]


class Conversion:
    """Converts for tasks."""

    def __init__(
        self,
        scratch: Scratch,
        converter: Converter,
        inspector: InspectorFactory,
        examiner: Examiner,
    ) -> None:
        self._scratch = scratch
        self._converter = converter
        self._inspector = inspector
        self.examiner = examiner

    def require_able(self, source_format: str, target_format: str) -> None:
        """Raises ConversionRefused where it cannot be done, whatever the bytes are."""
        self._converter.require_able(source_format, target_format)

    @asynccontextmanager
    async def of(
        self,
        context: TaskContext,
        body: AsyncIterable[bytes],
        source_format: str,
        target_format: str,
        examination: Examination | None = None,
    ) -> AsyncIterator[Converted]:
        """Convert a body. Raises what it and ``examination`` raise, FormatRefused, TooLarge,
        ConversionFailed, ScratchError.
        """
        examination = examination or self.examiner.begin()
        examination.inspect(self._inspector(), lambda found: self._judge(source_format, found))
        async with self._scratch.folder(context.attempt) as folder:
            async with aclosing(examination.of(body)) as examined:
                source = await folder.write("source", examined)
            target = await folder.make("target")
            size_bytes = await folder.size_bytes("source")
            async with _watched(context, folder, size_bytes) as tell:
                await self._converter.convert(source, source_format, target, target_format, tell)
            async with aclosing(folder.read("target")) as chunks:
                yield Converted(await folder.size_bytes("target"), chunks)

    def _judge(self, declared: str, findings: Findings) -> None:
        require_declared(declared, findings, STRICT)
        if findings.is_encrypted:
            raise FormatRefused(
                f"The disk in the {declared} is encrypted, and cannot be converted without its "
                "key: convert it where the key is, and send the result."
            )
        most, size_bytes = self.examiner.max_size_bytes(), findings.virtual_size_bytes or 0
        if size_bytes > most:
            raise FormatRefused(
                f"The disk in the image has {size_bytes} bytes, more than the {most} that are "
                "accepted."
            )


class _Share:
    """How much is done, as it was said last."""

    def __init__(self) -> None:
        self.latest = 0.0

    def __call__(self, share: float) -> None:
        self.latest = share


@asynccontextmanager
async def _watched(
    context: TaskContext, folder: ScratchFolder, size_bytes: int
) -> AsyncIterator[_Share]:
    """Write down now and then how much is done, and stop before the disk is full."""
    share = _Share()

    async def watch() -> None:
        while True:
            await context.progress(CONVERTING, int(share.latest * size_bytes), size_bytes)
            await folder.require_room()
            await anyio.sleep(TELL_SECONDS)

    async with anyio.create_task_group() as watching:
        watching.start_soon(watch)
        yield share
        watching.cancel_scope.cancel()
