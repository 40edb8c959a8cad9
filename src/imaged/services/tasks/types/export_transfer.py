"""The transfer of an image to a destination: read, optionally converted, hashed, delivered once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from imaged.core.block import Block, TransferBudget
from imaged.core.errors import ExportExists, InvalidTransition, TaskFailed
from imaged.core.image import Content, Image
from imaged.core.integrity import StoredContent, problems_of
from imaged.lanes import LaneFactory
from imaged.ports.export import Destination, ExportFile
from imaged.services.downloads import Download
from imaged.services.stream_checks import StreamChecks, gather_blocks
from imaged.services.tasks.context import READING, READING_BACK, TaskContext
from imaged.services.tasks.image_converter import ImageConverter

EXPORTING = "exporting"
PUBLISHING = "publishing"


@dataclass(frozen=True, slots=True)
class ExportBody:
    """The content of the file to write."""

    chunks: AsyncIterable[bytes]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ExportTransfer:
    """Transfers an image to a destination."""

    conversion: ImageConverter
    budget: TransferBudget
    lanes: LaneFactory

    async def run(
        self,
        context: TaskContext,
        source: Download,
        destination: Destination,
        export_file: ExportFile,
        new_format: str | None,
    ) -> Content:
        """Deliver the file, unless an earlier attempt did; return its content.

        Raises DataDamaged if the image's bytes differ from their record, and the errors of reading,
        converting and delivering.
        """
        original = source.image if new_format is None else None
        if await destination.has_delivered(export_file):
            return await self._read_back(context, source.image, destination, export_file, original)
        await destination.remove(export_file.task_id)  # leftovers of earlier attempts
        stream_checks = StreamChecks(self.lanes)
        content = _content(source.image)
        if original is None:
            digests = stream_checks.digest_like(content)
        else:
            digests = stream_checks.compare(original.locations[0].store, content)
        async with self._body(context, source, new_format) as body:
            try:
                async with aclosing(
                    self._sent(context, body, stream_checks, destination)
                ) as blocks:
                    await destination.deliver(export_file, blocks, body.size_bytes)
            except ExportExists:  # possibly by an attempt that was believed dead
                if not await destination.has_delivered(export_file):
                    raise
                return await self._read_back(
                    context, source.image, destination, export_file, original
                )
        return digests.content()

    @asynccontextmanager
    async def _body(
        self, context: TaskContext, source: Download, new_format: str | None
    ) -> AsyncIterator[ExportBody]:
        size_bytes = _content(source.image).size_bytes
        if new_format is None:
            yield ExportBody(source.chunks, size_bytes)
            return
        old_format = source.image.disk_format or ""
        async with (
            aclosing(context.counted(READING, source.chunks, size_bytes)) as chunks,
            self.conversion.of(
                context, chunks, old_format, new_format, self._compared(source.image)
            ) as converted,
        ):
            yield ExportBody(converted.chunks, converted.size_bytes)

    async def _sent(
        self,
        context: TaskContext,
        body: ExportBody,
        stream_checks: StreamChecks,
        destination: Destination,
    ) -> AsyncGenerator[Block]:
        """The file in blocks. At the end it is known whether they are the image's bytes."""
        async with (
            stream_checks.running(),
            aclosing(context.counted(EXPORTING, body.chunks, body.size_bytes)) as chunks,
            aclosing(gather_blocks(chunks, self.budget)) as gathered,
            aclosing(stream_checks.of(gathered)) as blocks,
        ):
            async for block in blocks:
                yield block
                del block  # a reference would keep it alive while we wait for more
        await context.progress(PUBLISHING, has_own_timeout=destination.has_own_timeout)

    async def _read_back(
        self,
        context: TaskContext,
        image: Image,
        destination: Destination,
        export_file: ExportFile,
        original: Image | None,
    ) -> Content:
        """The content of the file: the attempt that delivered it could not report it.

        Raises TaskFailed if it differs from ``original``: it was damaged or changed since.
        """
        stream_checks = StreamChecks(self.lanes)
        digests = stream_checks.digest_like(_content(image))
        async with (
            aclosing(destination.read(export_file.file_name)) as data,
            aclosing(context.counted(READING_BACK, data)) as chunks,
            aclosing(gather_blocks(chunks, self.budget)) as blocks,
        ):
            await stream_checks.read(blocks)
        found = digests.content()
        if original and problems_of(_content(original), StoredContent(destination.name, found)):
            raise TaskFailed(
                f"An earlier attempt delivered the file {export_file.file_name}, and it no longer "
                f"matches the image. Remove it from the export destination "
                f"{destination.name!r}, or choose another file_name, and create the task again."
            )
        return found

    def _compared(self, image: Image) -> StreamChecks:
        """Checks for the bytes to convert: they must match the image's record."""
        stream_checks = self.conversion.check_factory.begin()
        stream_checks.compare(image.locations[0].store, _content(image))
        return stream_checks


def _content(image: Image) -> Content:
    if image.content is None:
        raise InvalidTransition(image.status, "be exported")
    return image.content
