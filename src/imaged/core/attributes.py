"""The attributes of an image, by the names that the OpenStack Image API v2 gives them.

One table says what clients may write, when, and which values; the schemas that the API serves are
drawn from it too. What is not in the table is a property: a name and a string of the client's own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS
from imaged.core.errors import InvalidAttribute, ReadOnlyAttribute, TooMany
from imaged.core.image import Visibility
from imaged.core.lifecycle import Status
from imaged.core.limits import (
    MAX_INTEGER,
    MAX_NAME_LENGTH,
    MAX_OWNER_LENGTH,
    MAX_PROPERTY_NAME_LENGTH,
    MAX_PROPERTY_VALUE_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
)


class Kind(StrEnum):
    """What a value is, in the words of JSON schema."""

    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    ARRAY = "array"


class Writable(Enum):
    """When a client may write an attribute."""

    NEVER = auto()
    AT_CREATION = auto()
    BEFORE_DATA = auto()  # afterwards it says what the bytes are
    ALWAYS = auto()


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute: what it is, and what may be written into it."""

    name: str
    description: str
    writable: Writable = Writable.NEVER
    kind: Kind = Kind.STRING
    field: str = ""  # of Image, where it can be written
    is_nullable: bool = False
    max_length: int | None = None
    pattern: str | None = None
    choices: tuple[str, ...] = ()


UUID_PATTERN = (
    "^([0-9a-fA-F]){8}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){4}-([0-9a-fA-F]){12}$"
)
LAST_FAILURE = "imaged_last_failure"
DAMAGE = "imaged_damage"
NOTICE = "imaged_notice"

#: Names that clients never write: they tell what the service itself knows.
RESERVED_NAMES = frozenset({"location", "deleted", "deleted_at"})
RESERVED_PREFIXES = ("os_glance_", "os_hash_", "imaged_")

_ATTRIBUTES = (
    Attribute(
        "id",
        "What the image is known by; chosen by its creator or by the service, and never again.",
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
    Attribute("status", "Where the image is in its life.", choices=tuple(Status)),
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
        Kind.BOOLEAN,
        field="protected",
    ),
    Attribute(
        "os_hidden",
        "A hidden image is only listed when hidden images are asked for.",
        Writable.ALWAYS,
        Kind.BOOLEAN,
        field="hidden",
    ),
    Attribute("checksum", "The md5 of the data, in hex.", is_nullable=True, max_length=32),
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
    Attribute("size", "How many bytes of data.", kind=Kind.INTEGER, is_nullable=True),
    Attribute(
        "virtual_size",
        "How many bytes the disk inside has for who uses it.",
        kind=Kind.INTEGER,
        is_nullable=True,
    ),
    Attribute(
        "container_format",
        "What the disk is wrapped in.",
        Writable.BEFORE_DATA,
        field="container_format",
        is_nullable=True,
        choices=CONTAINER_FORMATS,
    ),
    Attribute(
        "disk_format",
        "What format the disk has.",
        Writable.BEFORE_DATA,
        field="disk_format",
        is_nullable=True,
        choices=DISK_FORMATS,
    ),
    Attribute("created_at", "When the image was created (UTC)."),
    Attribute("updated_at", "When the image was last changed (UTC)."),
    Attribute(
        "tags",
        "Words by which images are found.",
        Writable.ALWAYS,
        Kind.ARRAY,
        field="tags",
        max_length=MAX_TAG_LENGTH,
    ),
    Attribute("direct_url", "Where the data is, outside of this service; never shown."),
    Attribute(
        "min_ram",
        "How much memory a server needs for it, in MiB.",
        Writable.ALWAYS,
        Kind.INTEGER,
        field="min_ram_mib",
    ),
    Attribute(
        "min_disk",
        "How much disk a server needs for it, in GiB.",
        Writable.ALWAYS,
        Kind.INTEGER,
        field="min_disk_gib",
    ),
    Attribute("self", "Where the image is in this API."),
    Attribute("file", "Where the data is in this API."),
    Attribute("stores", "The stores that hold the data, with commas between."),
    Attribute("schema", "Where the schema of an image is."),
    Attribute("locations", "Where the data is kept; never shown and never set.", kind=Kind.ARRAY),
    Attribute(LAST_FAILURE, "Why the last upload or import failed: moment, phase and reason."),
    Attribute(
        NOTICE, "What the data looks like, if not like a disk, and what to do; shown to its owner."
    ),
    Attribute(DAMAGE, "What the last verification found wrong; shown to administrators."),
)

ATTRIBUTES: Mapping[str, Attribute] = {attribute.name: attribute for attribute in _ATTRIBUTES}

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_UNPRINTABLE_IN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


def validate(attribute: Attribute, value: object) -> object:
    """Return the value as an ``Image`` has it. Raises InvalidAttribute, TooMany."""
    if value is None and attribute.is_nullable:
        return None
    match attribute.kind:
        case Kind.BOOLEAN:
            if not isinstance(value, bool):
                raise InvalidAttribute(attribute.name, "must be true or false")
            return value
        case Kind.INTEGER:
            return _integer(attribute.name, value)
        case Kind.ARRAY:
            return _tags(attribute.name, value)
        case Kind.STRING:
            return _choice(attribute, value)


def validate_tag(tag: object) -> str:
    """Return the tag. Raises InvalidAttribute."""
    return _text("tags", tag, MAX_TAG_LENGTH, _UNPRINTABLE)


def validate_property(name: str, value: object) -> str:
    """Return the value of a property. Raises InvalidAttribute, and ReadOnlyAttribute for names
    that are not the client's to use.
    """
    if name in RESERVED_NAMES or name.startswith(RESERVED_PREFIXES):
        raise ReadOnlyAttribute(name, "is reserved")
    if not 0 < len(name) <= MAX_PROPERTY_NAME_LENGTH:
        shown = f"{name[:40]}…" if name else name
        why = f"must have a name of 1 to {MAX_PROPERTY_NAME_LENGTH} characters"
        raise InvalidAttribute(shown, why)
    if not is_printable(name):
        raise InvalidAttribute(name, "has characters in its name that cannot be printed")
    return _text(name, value, MAX_PROPERTY_VALUE_LENGTH, _UNPRINTABLE_IN_TEXT)


def is_printable(text: str) -> bool:
    """Whether a log and any database can take it: no control characters, no half characters."""
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
