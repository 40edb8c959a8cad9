"""``convert``: another image of the same disk, in another format."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated

import msgspec

from imaged.core.access import Caller, require_readable
from imaged.core.disk_format import is_inspected
from imaged.core.errors import InvalidInput, InvalidTransition
from imaged.core.image import Image
from imaged.core.lifecycle import require_data
from imaged.core.task import TaskFacts
from imaged.ports.image_catalog import ImageCatalog
from imaged.services.downloads import Downloads
from imaged.services.tasks.context import READING, TaskContext
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.task_type import (
    Accepted,
    Example,
    ImageId,
    ImageProperties,
    ImageResult,
    TaskInput,
)
from imaged.services.tasks.types.new_image import (
    as_invalid_input,
    new_clone,
    require_disk_format,
)


class ConvertInput(TaskInput):
    """The image to convert, and its new format."""

    image_id: ImageId
    to_format: Annotated[str, msgspec.Meta(description="A disk format of the Image API.")]
    image_properties: ImageProperties = msgspec.field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Convert:
    """The task type."""

    catalog: ImageCatalog
    downloads: Downloads
    conversion: ImageConverter

    facts = TaskFacts("convert", max_attempts=2)
    input = ConvertInput
    example = Example(
        ConvertInput(
            image_id="8f2c0f6e-6a3c-4c1e-9d0b-0c5a3b1e7d42",
            to_format="qcow2",
            image_properties={"name": "debian-12, smaller"},
        ),
        ImageResult(image_id="3d1f5b7a-90cc-4f0e-8d5e-5e0d2a9b6c11"),
    )

    async def accept(self, caller: Caller, asked: ConvertInput) -> Accepted:
        """Check the source. Raises ImageNotFound, DataForbidden, InvalidTransition,
        InvalidInput.
        """
        image = await self.catalog.get_image(asked.image_id.lower())
        source = require_readable(caller, image)
        require_data(source.status, "be converted")
        require_disk_format("to_format", asked.to_format)
        self._require_able(source, asked.to_format)
        return Accepted(source.id, _draft(caller, source, asked))

    async def run(self, context: TaskContext, asked: ConvertInput) -> ImageResult:
        """Convert it. Raises the errors of reading, inspecting, converting and storing."""
        async with self.downloads.open(context.caller, asked.image_id.lower()) as source:
            image, content = source.image, source.image.content
            if content is None:
                raise InvalidTransition(image.status, "be converted")
            stream_checks = self.conversion.check_factory.begin()
            stream_checks.compare(image.locations[0].store, content)
            body = context.counted(READING, source.chunks, content.size_bytes)
            async with (
                aclosing(body),
                self.conversion.of(
                    context, body, image.disk_format or "", asked.to_format, stream_checks
                ) as converted,
            ):
                await context.store(converted.chunks, announced_bytes=converted.size_bytes)
        return ImageResult(image_id=context.image.id)

    def _require_able(self, source: Image, to_format: str) -> None:
        if not is_inspected(source.container_format or ""):
            raise InvalidInput(
                "image_id", f"names an image in a container ({source.container_format}), not a disk"
            )
        if to_format == source.disk_format:
            raise InvalidInput("to_format", f"is {to_format}, as the image is already")
        self.conversion.require_able(source.disk_format or "", to_format, field="to_format")


def _draft(caller: Caller, source: Image, asked: ConvertInput) -> Image:
    """The new image: a clone of the source in another format."""
    properties = dict(asked.image_properties)
    if properties.get("disk_format") == asked.to_format:
        del properties["disk_format"]
    with as_invalid_input():
        draft = new_clone(caller, source, properties)
    return replace(draft, disk_format=asked.to_format)
