"""``export``: writes an image's data to a file in an export destination."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import anyio
import msgspec

from imaged.core.access import Caller, require_readable
from imaged.core.block import TransferBudget
from imaged.core.disk_format import is_inspected
from imaged.core.errors import InvalidInput
from imaged.core.file_names import default_file_name, why_file_name_refused
from imaged.core.image import Image
from imaged.core.lifecycle import require_data
from imaged.core.task import TaskFacts
from imaged.lanes import BackgroundLane, LaneFactory
from imaged.ports.export import Destination, ExportFile
from imaged.ports.image_catalog import ImageCatalog
from imaged.services.downloads import Downloads
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.task_type import Accepted, Example, ImageId, TaskInput, TaskResult
from imaged.services.tasks.types.export_transfer import ExportTransfer
from imaged.services.tasks.types.new_image import require_disk_format

PUBLISHED = "published"
DESTINATION_CHECK_SECONDS = 5  # how long a request waits for a slow destination


class ExportInput(TaskInput):
    """The image to export, and the destination."""

    image_id: ImageId
    export_to: Annotated[str, msgspec.Meta(description="A configured export destination.")]
    export_format: Annotated[
        str,
        msgspec.Meta(description="A disk format to convert to; default: no conversion."),
    ] = ""
    file_name: Annotated[
        str,
        msgspec.Meta(
            description="The name of the file there, with folders if wanted: a/b.raw. "
            "Default: the image's id and the format."
        ),
    ] = ""


class ExportResult(TaskResult):
    """The file. Its digests are those of the bytes written."""

    export_location: str
    size: int
    checksum: str
    os_hash_algo: str
    os_hash_value: str


@dataclass(frozen=True, slots=True)
class Export:
    """The task type."""

    catalog: ImageCatalog
    downloads: Downloads
    conversion: ImageConverter
    destinations: Mapping[str, Destination]
    budget: TransferBudget
    lanes: LaneFactory = BackgroundLane

    facts = TaskFacts("export", place_field="export_to")
    input = ExportInput
    example = Example(
        ExportInput(
            image_id="5a2dbfcf-9b4a-4b7e-8ba8-7cf1a4a7c0e5",
            export_to="archive",
            export_format="raw",
            file_name="2026/debian-13.raw",
        ),
        ExportResult(
            export_location="/srv/exports/2026/debian-13.raw",
            size=5,
            checksum="5d41402abc4b2a76b9719d911017c592",
            os_hash_algo="sha256",
            os_hash_value="2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
        ),
    )

    async def accept(self, caller: Caller, asked: ExportInput) -> Accepted:
        """Check the request. Raises ImageNotFound, DataForbidden, InvalidTransition, InvalidInput,
        ExportError.
        """
        image = require_readable(caller, await self.catalog.get_image(asked.image_id.lower()))
        destination = self._destination(asked)
        self._require_able(image, asked)
        file_name = _file_name(image, asked)
        if await _is_taken(destination, file_name):
            why = f"cannot be {file_name!r}: there is a file of this name already"
            raise InvalidInput("file_name", why)
        return Accepted(image.id)

    async def run(self, context: TaskContext, asked: ExportInput) -> ExportResult:
        """Export it. Raises the errors of reading, converting and delivering."""
        destination = self._destination(asked)
        async with self.downloads.open(context.caller, asked.image_id.lower()) as source:
            self._require_able(source.image, asked)
            export_file = ExportFile(
                context.task.id, context.attempt, _file_name(source.image, asked)
            )
            transfer = ExportTransfer(self.conversion, self.budget, self.lanes)
            written = await transfer.run(
                context, source, destination, export_file, _new_format(source.image, asked)
            )
        await context.progress(PUBLISHED)
        return ExportResult(
            export_location=destination.location_of(export_file.file_name),
            size=written.size_bytes,
            checksum=written.checksum,
            os_hash_algo=written.hash_algorithm,
            os_hash_value=written.hash_value,
        )

    def _destination(self, asked: ExportInput) -> Destination:
        try:
            return self.destinations[asked.export_to]
        except KeyError:
            known = ", ".join(self.destinations) or "none"
            why = f"must be the name of a destination; there is {known}"
            raise InvalidInput("export_to", why) from None

    def _require_able(self, image: Image, asked: ExportInput) -> None:
        require_data(image.status, "be exported")
        if why := asked.file_name and why_file_name_refused(asked.file_name):
            raise InvalidInput("file_name", why)
        if (new_format := _new_format(image, asked)) is None:
            return
        require_disk_format("export_format", new_format)
        if not is_inspected(image.container_format or ""):
            why = f"is not possible: the image is in a container ({image.container_format})"
            raise InvalidInput("export_format", why)
        self.conversion.require_able(image.disk_format or "", new_format, field="export_format")


async def _is_taken(destination: Destination, file_name: str) -> bool:
    """Whether the name is known to be taken; the task checks it again."""
    with anyio.move_on_after(DESTINATION_CHECK_SECONDS):
        return await destination.has(file_name)
    return False


def _new_format(image: Image, asked: ExportInput) -> str | None:
    """The format to convert to, if any."""
    return None if asked.export_format in {"", image.disk_format} else asked.export_format


def _file_name(image: Image, asked: ExportInput) -> str:
    written_format = asked.export_format or image.disk_format or "raw"
    return asked.file_name or default_file_name(image.id, written_format)
