"""``export``: writes an image's data to a file in an export destination.

The name of the file is relative to the destination and consists of parts separated by "/".
Rule 1: it never leads out of the destination.
Rule 2: it is neither one of the service's names (``.imaged-…``) nor otherwise hidden.
Rule 3: it reads as it is: it has no invisible characters and none that reverse the text.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import anyio
import msgspec

from imaged.core.access import Caller, require_readable
from imaged.core.block import TransferBudget
from imaged.core.disk_format import is_inspected
from imaged.core.errors import InvalidInput
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
MAX_FILE_NAME_PART_BYTES = 255  # the limit of common filesystems
MAX_FILE_NAME_BYTES = 512
INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode's categories


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
    checksum: str | None
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


def why_file_name_refused(name: str) -> str:
    """Why a file may not have this name, as the end of a sentence; "" if it may."""
    if any(unicodedata.category(character) in INVISIBLE_CATEGORIES for character in name):
        return "has invisible characters"
    if len(name.encode()) > MAX_FILE_NAME_BYTES:
        return f"is longer than {MAX_FILE_NAME_BYTES} bytes"
    if "\\" in name:
        return 'has a "\\": folders are separated by "/"'
    for part in name.split("/"):
        if why := _why_part_refused(part):
            return why
    return ""


def _why_part_refused(part: str) -> str:
    if not part:
        return 'has an empty part: it must not be absolute, nor end with "/"'
    if part.startswith("."):
        return 'has a part that begins with "."'
    if part != part.strip():
        return "has a part that begins or ends with a space"
    if len(part.encode()) > MAX_FILE_NAME_PART_BYTES:
        return f"has a part that is longer than {MAX_FILE_NAME_PART_BYTES} bytes"
    return ""


def default_file_name(image_id: str, disk_format: str) -> str:
    """The name of a file if the task's input gives none."""
    return f"{image_id}.{disk_format}"


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
