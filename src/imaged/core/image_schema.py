"""What the operator allows in records: the formats, and the properties that a description names.

The description is that of Glance's ``schema-image.json``: a JSON schema for each property. A
property that it does not name is a string. A record is compared with it when it is written, and
only in what is written: records from before a new description can be read, and changed elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from imaged.core.attributes import UUID_PATTERN
from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS
from imaged.core.errors import InvalidAttribute
from imaged.core.image import Image, PropertyValue

#: Attributes that a description may require: those that a record may be without.
REQUIRABLE = frozenset({"name", "disk_format", "container_format"})


class PropertyType(StrEnum):
    """The types of a property, in terms of JSON schema; what else a schema has, no record has."""

    NULL = "null"
    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"


_NAMES: Mapping[PropertyType, str] = {
    PropertyType.NULL: "null",
    PropertyType.STRING: "a string",
    PropertyType.BOOLEAN: "true or false",
    PropertyType.INTEGER: "an integer",
    PropertyType.NUMBER: "a number",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PropertySchema:
    """The allowed values of one property. Lengths are in characters."""

    description: str = ""
    types: tuple[PropertyType, ...] = (PropertyType.STRING,)
    choices: tuple[PropertyValue, ...] | None = None
    pattern: str | None = None  # searched in a string; a UUID is one of a fixed pattern
    min_length: int | None = None
    max_length: int | None = None
    minimum: float | None = None
    maximum: float | None = None

    def read(self, value: PropertyValue) -> PropertyValue:
        """The value in a type of the property: clients that only send strings write numbers so."""
        if not isinstance(value, str) or PropertyType.STRING in self.types:
            return value
        if PropertyType.BOOLEAN in self.types and value in {"true", "false"}:
            return value == "true"
        if PropertyType.INTEGER in self.types and re.fullmatch(r"-?[0-9]{1,18}", value):
            return int(value)
        if PropertyType.NUMBER in self.types and re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]+)?", value):
            return float(value)
        return value

    def why_invalid(self, value: PropertyValue) -> str | None:
        """What the value must be; None if it is that."""
        if not any(_is(kind, value) for kind in self.types):
            return f"must be {' or '.join(_NAMES[kind] for kind in self.types)}"
        if self.choices is not None and value not in self.choices:
            return f"must be one of {', '.join(map(str, self.choices))}"
        match value:
            case str():
                return self._why_invalid_text(value)
            case bool() | None:
                return None
            case _:
                return self._why_invalid_number(value)

    def _why_invalid_text(self, text: str) -> str | None:
        if self.min_length is not None and len(text) < self.min_length:
            return f"must have {self.min_length} characters at least"
        if self.max_length is not None and len(text) > self.max_length:
            return f"may have {self.max_length} characters at most"
        if self.pattern is not None and re.search(self.pattern, text) is None:
            if self.pattern == UUID_PATTERN:
                return "must be a UUID"
            return f"must match the pattern {self.pattern}"
        return None

    def _why_invalid_number(self, number: float) -> str | None:
        if self.minimum is not None and number < self.minimum:
            return f"must be {self.minimum:g} at least"
        if self.maximum is not None and number > self.maximum:
            return f"may be {self.maximum:g} at most"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSchema:
    """What records may have."""

    properties: Mapping[str, PropertySchema] = field(default_factory=dict)
    required: frozenset[str] = frozenset()  # properties, and attributes of ``REQUIRABLE``
    disk_formats: tuple[str, ...] = DISK_FORMATS
    container_formats: tuple[str, ...] = CONTAINER_FORMATS

    def checked(self, after: Image, before: Image | None = None) -> Image:
        """The image with its properties in their types. ``before``: the image that is changed.

        Raises InvalidAttribute for what is written in another way than described.
        """
        old = Image(id=after.id, owner=after.owner) if before is None else before
        self._require_format("disk_format", self.disk_formats, old, after)
        self._require_format("container_format", self.container_formats, old, after)
        for name in sorted(self.required):
            if not _has(after, name) and (before is None or _has(before, name)):
                raise InvalidAttribute(name, "is required in this service")
        if after.properties == old.properties:
            return after
        properties = {
            name: value if _is_kept(old, name, value) else self._read(name, value)
            for name, value in after.properties.items()
        }
        return replace(after, properties=properties)

    def _read(self, name: str, value: PropertyValue) -> PropertyValue:
        schema = self.properties.get(name, _ANY_STRING)
        read = schema.read(value)
        why = schema.why_invalid(read)
        if why is not None:
            raise InvalidAttribute(name, why)
        return read

    def _require_format(
        self, name: str, allowed: tuple[str, ...], before: Image, after: Image
    ) -> None:
        declared = getattr(after, name)
        if declared not in {None, getattr(before, name), *allowed}:
            raise InvalidAttribute(name, f"must be one of {', '.join(allowed)}")


_ANY_STRING = PropertySchema()

_UUID_OR_NULL = (PropertyType.NULL, PropertyType.STRING)

#: The properties of Glance's own file that other services of OpenStack read.
DEFAULT_PROPERTIES: Mapping[str, PropertySchema] = {
    "kernel_id": PropertySchema(
        description="The image with the kernel to boot, for disks of the format ami.",
        types=_UUID_OR_NULL,
        pattern=UUID_PATTERN,
    ),
    "ramdisk_id": PropertySchema(
        description="The image with the RAM disk to boot, for disks of the format ami.",
        types=_UUID_OR_NULL,
        pattern=UUID_PATTERN,
    ),
    "instance_uuid": PropertySchema(
        description="The server that the image was made of; a note, without any effect."
    ),
    "architecture": PropertySchema(
        description="The processor architecture that the image needs, such as x86_64."
    ),
    "os_distro": PropertySchema(description="The operating system or distribution, in one word."),
    "os_version": PropertySchema(description="The version of it, as its distributor says."),
}

DEFAULT_SCHEMA = ImageSchema(properties=DEFAULT_PROPERTIES)


def _has(image: Image, name: str) -> bool:
    if name in REQUIRABLE:
        return getattr(image, name) is not None
    return name in image.properties


def _is_kept(before: Image, name: str, value: PropertyValue) -> bool:
    return name in before.properties and before.properties[name] == value


def _is(kind: PropertyType, value: PropertyValue) -> bool:
    match kind:
        case PropertyType.NULL:
            return value is None
        case PropertyType.STRING:
            return isinstance(value, str)
        case PropertyType.BOOLEAN:
            return isinstance(value, bool)
        case PropertyType.INTEGER:
            return isinstance(value, int) and not isinstance(value, bool)
        case PropertyType.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
