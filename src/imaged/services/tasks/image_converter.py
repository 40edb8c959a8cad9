"""Converts a body from one disk format to another, through scratch files.

The converter reads the inspected bytes from a file that other users cannot access, so the file is
the one that was inspected.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

import anyio

from imaged.core.disk_format import Findings, FormatPolicy, require_declared
from imaged.core.errors import ConversionRefused, FormatRefused, InvalidInput
from imaged.ports.disk_image import Converter, InspectorFactory, Scratch, ScratchFolder
from imaged.services.stream_checks import StreamChecks
from imaged.services.tasks.context import StreamCheckFactory, TaskContext

CONVERTING = "converting"
PROGRESS_SECONDS = 1

#: Independent of the policy for uploads.
STRICT_POLICY = FormatPolicy(check_format=True, refuse_unsafe=True)


@dataclass(frozen=True, slots=True)
class Converted:
    """The disk in its new format."""

    size_bytes: int
    chunks: AsyncGenerator[bytes]


@dataclass(frozen=True, slots=True)
class ImageConverter:
    """Converts disk images for tasks."""

    scratch: Scratch
    converter: Converter
    inspector: InspectorFactory
    check_factory: StreamCheckFactory

    def require_able(
        self,
        source_format: str,
        target_format: str,
        *,
        field: str,
        refusal: str = "is not possible",
    ) -> None:
        """Raise InvalidInput if the conversion is impossible, whatever the bytes are.

        ``field``: of the task's input, to which the ``refusal`` applies.
        """
        try:
            self.converter.require_able(source_format, target_format)
        except ConversionRefused as error:
            raise InvalidInput(field, f"{refusal}: {error.why}") from error

    @asynccontextmanager
    async def of(
        self,
        context: TaskContext,
        body: AsyncIterable[bytes],
        source_format: str,
        target_format: str,
        stream_checks: StreamChecks | None = None,
    ) -> AsyncIterator[Converted]:
        """Convert a body. Raises its errors and those of ``stream_checks``, FormatRefused,
        TooLarge, ConversionFailed, ScratchError.
        """
        stream_checks = stream_checks or self.check_factory.begin()
        stream_checks.inspect(self.inspector(), lambda found: self._judge(source_format, found))
        async with self.scratch.folder(context.attempt) as folder:
            async with aclosing(stream_checks.of_chunks(body)) as examined:
                source = await folder.write("source", examined)
            target = await folder.make("target")
            size_bytes = await folder.size_bytes("source")
            async with _reporting_progress(context, folder, size_bytes) as tell:
                await self.converter.convert(source, source_format, target, target_format, tell)
            async with aclosing(folder.read("target")) as chunks:
                yield Converted(await folder.size_bytes("target"), chunks)

    def _judge(self, declared: str, findings: Findings) -> None:
        require_declared(declared, findings, STRICT_POLICY)
        if findings.is_encrypted:
            raise FormatRefused(
                f"The disk in the {declared} is encrypted, and cannot be converted without its "
                "key: decrypt or convert it first, and send the result."
            )
        most, size_bytes = self.check_factory.max_size_bytes(), findings.virtual_size_bytes or 0
        if size_bytes > most:
            raise FormatRefused(
                f"The disk in the image has {size_bytes} bytes, more than the {most} that are "
                "accepted."
            )


class _LatestProgress:
    """The last reported progress."""

    def __init__(self) -> None:
        self.latest = 0.0

    def __call__(self, share: float) -> None:
        self.latest = share


@asynccontextmanager
async def _reporting_progress(
    context: TaskContext, folder: ScratchFolder, size_bytes: int
) -> AsyncIterator[_LatestProgress]:
    """Report the progress periodically, and stop before the disk is full."""
    share = _LatestProgress()

    async def watch() -> None:
        while True:
            await context.progress(CONVERTING, int(share.latest * size_bytes), size_bytes)
            await folder.require_room()
            await anyio.sleep(PROGRESS_SECONDS)

    async with anyio.create_task_group() as watching:
        watching.start_soon(watch)
        yield share
        watching.cancel_scope.cancel()
