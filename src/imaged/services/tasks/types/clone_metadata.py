"""The metadata of a clone, before it has data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from imaged.core import edits
from imaged.core.access import Caller
from imaged.core.errors import InvalidInput, TooMany
from imaged.core.image import Image
from imaged.core.limits import MAX_PROPERTIES

FORMAT_ATTRIBUTES = ("disk_format", "container_format")


def new_clone(caller: Caller, source: Image, overrides: Mapping[str, Any]) -> Image:
    """The new image: the attributes given in the task, otherwise those of the source.

    Owner, visibility and protection are not copied. The formats are those of the bytes. Raises
    InvalidInput, and the errors of ``edits.new_image``.
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
