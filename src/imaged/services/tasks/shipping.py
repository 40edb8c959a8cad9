"""How an image gets to a destination: read, perhaps converted, hashed, and delivered once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from imaged.core.block import Block
from imaged.core.damage import Reading, problems_of, require_undamaged
from imaged.core.errors import ExportExists, InvalidTransition, TaskFailed
from imaged.core.image import Content, Image
from imaged.lanes import LaneFactory
from imaged.ports.export import Destination, Parcel
from imaged.services.budget import Budget, gather_blocks
from imaged.services.downloads import Download
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.conversion import Conversion
from imaged.services.tasks.examination import Examination
from imaged.services.tasks.fingerprint import Fingerprint

READING = "reading"
EXPORTING = "exporting"
PUBLISHING = "publishing"
READING_BACK = "reading back"


@dataclass(frozen=True, slots=True)
class Body:
    """What is to be in the file."""

    chunks: AsyncIterable[bytes]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Shipping:
    """What it takes."""

    conversion: Conversion
    budget: Budget
    lanes: LaneFactory

    async def ship(
        self,
        context: TaskContext,
        source: Download,
        destination: Destination,
        parcel: Parcel,
        new_format: str | None,
    ) -> Content:
        """Deliver it, unless an attempt before this one did; what the file is.

        Raises DataDamaged where the image's bytes are not what was recorded of them, and what
        reading, converting and delivering raise.
        """
        original = source.image if new_format is None else None
        if await destination.has_delivered(parcel):
            return await self._read_back(context, source.image, destination, parcel, original)
        await destination.remove(parcel.task_id)  # what attempts before this one left
        fingerprint = self._fingerprint(source.image)
        async with self._body(context, source, new_format) as body:
            try:
                async with aclosing(
                    self._sent(context, body, fingerprint, destination, original)
                ) as blocks:
                    await destination.deliver(parcel, blocks, body.size_bytes)
            except ExportExists:  # perhaps by an attempt that others took for dead
                if not await destination.has_delivered(parcel):
                    raise
                return await self._read_back(context, source.image, destination, parcel, original)
        return fingerprint.content()

    @asynccontextmanager
    async def _body(
        self, context: TaskContext, source: Download, new_format: str | None
    ) -> AsyncIterator[Body]:
        size_bytes = _content(source.image).size_bytes
        if new_format is None:
            yield Body(source.chunks, size_bytes)
            return
        old_format = source.image.disk_format or ""
        async with (
            aclosing(context.counted(READING, source.chunks, size_bytes)) as chunks,
            self.conversion.of(
                context, chunks, old_format, new_format, self._compared(source.image)
            ) as converted,
        ):
            yield Body(converted.chunks, converted.size_bytes)

    async def _sent(
        self,
        context: TaskContext,
        body: Body,
        fingerprint: Fingerprint,
        destination: Destination,
        original: Image | None,
    ) -> AsyncGenerator[Block]:
        """The file in blocks. At their end it is known whether they are the image's."""
        async with (
            aclosing(context.counted(EXPORTING, body.chunks, body.size_bytes)) as chunks,
            aclosing(gather_blocks(chunks, self.budget)) as gathered,
            aclosing(fingerprint.of(gathered)) as blocks,
        ):
            async for block in blocks:
                yield block
                del block  # nobody may keep it alive while we wait for more
        if original is not None:
            found = Reading(original.locations[0].store, fingerprint.content())
            require_undamaged(_content(original), found)
        await context.progress(PUBLISHING, has_limits=destination.has_limits)

    async def _read_back(
        self,
        context: TaskContext,
        image: Image,
        destination: Destination,
        parcel: Parcel,
        original: Image | None,
    ) -> Content:
        """What the file is: the attempt that delivered it told nobody.

        Raises TaskFailed where it is not the ``original``: it was damaged, or changed, since.
        """
        fingerprint = self._fingerprint(image)
        async with (
            aclosing(destination.read(parcel.file_name)) as data,
            aclosing(context.counted(READING_BACK, data)) as chunks,
            aclosing(gather_blocks(chunks, self.budget)) as gathered,
            aclosing(fingerprint.of(gathered)) as blocks,
        ):
            async for block in blocks:
                del block
        found = fingerprint.content()
        if original and problems_of(_content(original), Reading(destination.name, found)):
            raise TaskFailed(
                f"An attempt before this one delivered the file {parcel.file_name}, and it is not "
                f"the image any more. Remove it from the export destination {destination.name!r}, "
                "or choose another file_name, and ask for the export again."
            )
        return found

    def _fingerprint(self, image: Image) -> Fingerprint:
        return Fingerprint(_content(image).hash_algorithm, self.lanes)

    def _compared(self, image: Image) -> Examination:
        """The look at the bytes that are converted: they must be those of the image."""
        examination = self.conversion.examiner.begin()
        examination.compare(image.locations[0].store, _content(image))
        return examination


def _content(image: Image) -> Content:
    if image.content is None:
        raise InvalidTransition(image.status, "be exported")
    return image.content
