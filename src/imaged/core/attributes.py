"""The attributes of an image, by the names that the OpenStack Image API v2 gives them.

One table says which attributes clients may write, when, and with which values; the schemas that the
API serves are generated from it. A name that is not in the table is a property: a name and a string
chosen by the client.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from imaged.core.errors import InvalidAttribute, ReadOnlyAttribute, TooMany
from imaged.core.image import PropertyValue, Visibility
from imaged.core.lifecycle import Status
from imaged.core.limits import (
    MAX_FORMAT_LENGTH,
    MAX_INTEGER,
    MAX_NAME_LENGTH,
    MAX_OWNER_LENGTH,
    MAX_PROPERTY_NAME_LENGTH,
    MAX_PROPERTY_VALUE_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
)

UUID_PATTERN = (
    "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
)
LAST_FAILURE = "imaged_last_failure"
DAMAGE = "imaged_damage"
NOTICE = "imaged_notice"

#: Headers of the API besides HTTP's own, and the media type of data.
STORE_HEADER = "X-Image-Meta-Store"
REPLACE_HEADER = "X-Imaged-Replace"
OCTET_STREAM = "application/octet-stream"

#: Names that clients never write: the service sets them.
RESERVED_NAMES = frozenset({"location", "deleted", "deleted_at"})
RESERVED_PREFIXES = ("os_glance_", "os_hash_", "imaged_")

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNPRINTABLE_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class JsonType(StrEnum):
    """The type of a value, in terms of JSON schema."""

    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    ARRAY = "array"


class Writable(Enum):
    """When a client may write an attribute."""

    NEVER = auto()
    AT_CREATION = auto()
    BEFORE_DATA = auto()  # with data, it describes the bytes
    ALWAYS = auto()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: its type, and the values that clients may write."""

    name: str
    description: str
    writable: Writable = Writable.NEVER
    kind: JsonType = JsonType.STRING
    field: str = ""  # the field of Image, if clients can write it
    is_nullable: bool = False
    max_length: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()


_ATTRIBUTES = (
    Attribute(
        "id",
        "The identifier of the image, chosen by its creator or by the service; it never changes.",
        Writable.AT_CREATION,
        field="id",
        pattern=UUID_PATTERN,
    ),
    Attribute(
        "name",
        "A name for people; several images may have the same.",
        Writable.ALWAYS,
        field="name",
        is_nullable=True,
        max_length=MAX_NAME_LENGTH,
    ),
    Attribute("status", "The status of the image in its life cycle.", choices=tuple(Status)),
    Attribute(
        "visibility",
        "Who may see the image besides its owner.",
        Writable.ALWAYS,
        field="visibility",
        choices=tuple(Visibility),
    ),
    Attribute(
        "protected",
        "A protected image cannot be deleted.",
        Writable.ALWAYS,
        JsonType.BOOLEAN,
        field="protected",
    ),
    Attribute(
        "os_hidden",
        "A hidden image is only listed when hidden images are asked for.",
        Writable.ALWAYS,
        JsonType.BOOLEAN,
        field="hidden",
    ),
    Attribute("checksum", "The MD5 of the data, in hex.", is_nullable=True, max_length=32),
    Attribute("os_hash_algo", "The algorithm of os_hash_value.", is_nullable=True, max_length=64),
    Attribute(
        "os_hash_value",
        "The digest of the data by os_hash_algo, in hex.",
        is_nullable=True,
        max_length=128,
    ),
    Attribute(
        "owner",
        "The project that the image belongs to.",
        Writable.ALWAYS,
        field="owner",
        max_length=MAX_OWNER_LENGTH,
    ),
    Attribute("size", "The size of the data in bytes.", kind=JsonType.INTEGER, is_nullable=True),
    Attribute(
        "virtual_size",
        "The size in bytes of the disk inside, as a guest sees it.",
        kind=JsonType.INTEGER,
        is_nullable=True,
    ),
    Attribute(
        "container_format",
        "The container that the disk is wrapped in.",
        Writable.BEFORE_DATA,
        field="container_format",
        is_nullable=True,
        max_length=MAX_FORMAT_LENGTH,
    ),
    Attribute(
        "disk_format",
        "The format of the disk.",
        Writable.BEFORE_DATA,
        field="disk_format",
        is_nullable=True,
        max_length=MAX_FORMAT_LENGTH,
    ),
    Attribute("created_at", "When the image was created (UTC)."),
    Attribute("updated_at", "When the image was last changed (UTC)."),
    Attribute(
        "tags",
        "Words by which images are found.",
        Writable.ALWAYS,
        JsonType.ARRAY,
        field="tags",
        max_length=MAX_TAG_LENGTH,
    ),
    Attribute("direct_url", "The location of the data outside of this service; never shown."),
    Attribute(
        "min_ram",
        "The memory that a server needs for the image, in MiB.",
        Writable.ALWAYS,
        JsonType.INTEGER,
        field="min_ram_mib",
    ),
    Attribute(
        "min_disk",
        "The disk that a server needs for the image, in GiB.",
        Writable.ALWAYS,
        JsonType.INTEGER,
        field="min_disk_gib",
    ),
    Attribute("self", "The path of the image in this API."),
    Attribute("file", "The path of the data in this API."),
    Attribute("stores", "The stores that hold the data, separated by commas."),
    Attribute("schema", "The path of the schema of an image."),
    Attribute(
        "locations", "The locations of the data; never shown and never set.", kind=JsonType.ARRAY
    ),
    Attribute(LAST_FAILURE, "Why the last upload or import failed: time, phase and reason."),
    Attribute(
        NOTICE,
        "What the data looks like, if not like a disk, and a remedy; for its owner.",
    ),
    Attribute(DAMAGE, "The damage that the last verification found; shown to administrators."),
)

ATTRIBUTES: Mapping[str, Attribute] = {attribute.name: attribute for attribute in _ATTRIBUTES}


def validate_attribute(attribute: Attribute, value: object) -> object:
    """Return the value in the type that ``Image`` stores. Raises InvalidAttribute, TooMany."""
    if value is None and attribute.is_nullable:
        return None
    match attribute.kind:
        case JsonType.BOOLEAN:
            if not isinstance(value, bool):
                raise InvalidAttribute(attribute.name, "must be true or false")
            return value
        case JsonType.INTEGER:
            return _integer(attribute.name, value)
        case JsonType.ARRAY:
            return _tags(attribute.name, value)
        case JsonType.STRING:
            return _choice(attribute, value)


def validate_tag(tag: object) -> str:
    """Return the tag. Raises InvalidAttribute."""
    return _text("tags", tag, MAX_TAG_LENGTH, _UNPRINTABLE)


def validate_property(name: str, value: object) -> PropertyValue:
    """Return the value of a property, of any type that one may have. Raises InvalidAttribute, and
    ReadOnlyAttribute for reserved names.
    """
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        raise ReadOnlyAttribute(name, "is reserved")
    if not 0 < len(name) <= MAX_PROPERTY_NAME_LENGTH:
        shown = f"{name[:40]}…" if name else name
        why = f"must have a name of 1 to {MAX_PROPERTY_NAME_LENGTH} characters"
        raise InvalidAttribute(shown, why)
    if not is_printable(name):
        raise InvalidAttribute(name, "has characters in its name that cannot be printed")
    if value is None or isinstance(value, bool | int | float):
        return value
    return _text(name, value, MAX_PROPERTY_VALUE_LENGTH, _UNPRINTABLE_IN_TEXT)


def is_printable(text: str) -> bool:
    """Whether logs and all databases accept the text: no control characters, no lone surrogates."""
    return _UNPRINTABLE.search(text) is None


def _integer(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidAttribute(name, "must be an integer")
    if not 0 <= value <= MAX_INTEGER:
        raise InvalidAttribute(name, f"must be between 0 and {MAX_INTEGER}")
    return value


def _tags(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise InvalidAttribute(name, "must be an array of strings")
    tags = tuple(dict.fromkeys(validate_tag(tag) for tag in value))
    if len(tags) > MAX_TAGS:
        raise TooMany(name, MAX_TAGS)
    return tags


def _choice(attribute: Attribute, value: object) -> str:
    text = _text(attribute.name, value, attribute.max_length, _UNPRINTABLE)
    if attribute.choices and text not in attribute.choices:
        raise InvalidAttribute(attribute.name, f"must be one of {', '.join(attribute.choices)}")
    if attribute.pattern and re.fullmatch(attribute.pattern, text) is None:
        raise InvalidAttribute(attribute.name, "must be a UUID")
    return text


def _text(name: str, value: object, max_length: int | None, forbidden: re.Pattern[str]) -> str:
    if not isinstance(value, str):
        raise InvalidAttribute(name, "must be a string")
    if max_length is not None and len(value) > max_length:
        raise InvalidAttribute(name, f"may have {max_length} characters at most")
    if forbidden.search(value):
        raise InvalidAttribute(name, "has characters that cannot be printed")
    return value
