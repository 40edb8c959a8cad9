"""The new images of tasks: from the ``image_properties`` of their input, or as a clone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

from imaged.core import edits
from imaged.core.access import Caller
from imaged.core.disk_format import DISK_FORMATS
from imaged.core.errors import InvalidAttribute, InvalidInput, ReadOnlyAttribute, TooMany
from imaged.core.image import Image
from imaged.core.limits import MAX_PROPERTIES

PROPERTIES_FIELD = "image_properties"
FORMAT_ATTRIBUTES = ("disk_format", "container_format")


def new_task_image(caller: Caller, attributes: Mapping[str, object]) -> Image:
    """The image as described by its creator. Raises InvalidInput, NotPermitted."""
    with as_invalid_input():
        return edits.new_image(caller, str(uuid4()), attributes)


def new_clone(caller: Caller, source: Image, overrides: Mapping[str, Any]) -> Image:
    """The new image: the attributes given in the task, otherwise those of the source.

    Owner, visibility and protection are not copied. The formats are those of the bytes. Raises
    InvalidInput, TooMany, and the errors of ``edits.new_image``.
    """
    for name in FORMAT_ATTRIBUTES:
        if overrides.get(name, getattr(source, name)) != getattr(source, name):
            raise InvalidInput(
                f"image_properties.{name}", f"must be that of the source, {getattr(source, name)}"
            )
    asked = {name: value for name, value in overrides.items() if name not in FORMAT_ATTRIBUTES}
    draft = edits.new_image(caller, str(uuid4()), asked)
    properties = {**source.properties, **draft.properties}
    if len(properties) > MAX_PROPERTIES:
        raise TooMany("properties", MAX_PROPERTIES)
    return replace(
        draft,
        name=draft.name if "name" in asked else source.name,
        disk_format=source.disk_format,
        container_format=source.container_format,
        min_ram_mib=draft.min_ram_mib if "min_ram" in asked else source.min_ram_mib,
        min_disk_gib=draft.min_disk_gib if "min_disk" in asked else source.min_disk_gib,
        tags=draft.tags if "tags" in asked else source.tags,
        properties=properties,
    )


def require_disk_format(field: str, name: str) -> None:
    """Raise InvalidInput for anything but a disk format of the Image API."""
    if name not in DISK_FORMATS:
        raise InvalidInput(field, f"must be one of {', '.join(DISK_FORMATS)}")


@contextmanager
def as_invalid_input() -> Iterator[None]:
    """Report an invalid attribute as an invalid input of the task. Raises InvalidInput."""
    try:
        yield
    except (InvalidAttribute, ReadOnlyAttribute, TooMany) as error:
        raise InvalidInput(PROPERTIES_FIELD, f"cannot be used: {str(error).rstrip('.')}") from error
