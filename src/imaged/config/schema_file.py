"""The schema file: what properties of images may have, in JSON, as Glance's schema-image.json.

It is a mapping of names to JSON schemas; or, with properties that must be there, an object with
``properties`` and ``required``. What a schema says that imaged does not enforce is an error here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imaged.config.model import Config
from imaged.core.attributes import ATTRIBUTES, validate_property
from imaged.core.errors import ImagedError
from imaged.core.image import PropertyValue
from imaged.core.image_schema import (
    DEFAULT_PROPERTIES,
    REQUIRABLE,
    ImageSchema,
    PropertySchema,
    PropertyType,
)

_MAX_BYTES = 1024 * 1024

#: Keywords that describe and restrict nothing. Glance adds ``is_base`` itself.
_NOTES = frozenset({"title", "description", "default", "examples", "is_base", "$comment"})
_LENGTHS = {"minLength": "min_length", "maxLength": "max_length"}
_BOUNDS = {"minimum": "minimum", "maximum": "maximum"}
_KNOWN = sorted({"type", "pattern", "enum", *_NOTES, *_LENGTHS, *_BOUNDS})


class SchemaFileInvalid(ImagedError):
    """The schema file is invalid. The text names the file, the property and the remedy."""

    needs_correction = True


class _Flaw(Exception):
    """What is wrong with the file, as the rest of a sentence about it."""


def read_schema(config: Config) -> ImageSchema:
    """What records may have by this configuration. Raises SchemaFileInvalid."""
    images = config.images
    properties, required = DEFAULT_PROPERTIES, frozenset[str]()
    if images.schema_file:
        file = Path(images.schema_file)
        try:
            properties, required = _parse(_read(file))
        except _Flaw as error:
            raise SchemaFileInvalid(f"The schema file {file} {error}.") from error
    return ImageSchema(
        properties=properties,
        required=required,
        disk_formats=images.disk_formats,
        container_formats=images.container_formats,
    )


def _read(file: Path) -> object:
    """The document of the file. Raises _Flaw."""
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _Flaw(f"cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise _Flaw("is larger than 1 MiB")
    try:
        return json.loads(content, object_pairs_hook=_each_name_once)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise _Flaw(f"is no JSON: {error}") from error
    except RecursionError as error:
        raise _Flaw("is nested too deeply") from error


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    for name in table:
        if sum(name == other for other, _ in pairs) > 1:
            raise _Flaw(f"has the name {name!r} twice; keep one of them")
    return table


def _parse(document: object) -> tuple[Mapping[str, PropertySchema], frozenset[str]]:
    if not isinstance(document, dict):
        raise _Flaw("must be an object with a schema for each property")
    table: dict[str, Any] = document
    required: object = []
    if isinstance(table.get("properties"), dict):
        if unknown := table.keys() - {"properties", "required"}:
            raise _Flaw(f"has {min(unknown)!r} beside 'properties' and 'required'; remove it")
        table, required = table["properties"], table.get("required") or []
    properties = {name: _property(name, schema) for name, schema in table.items()}
    return properties, _required(required)


def _required(names: object) -> frozenset[str]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise _Flaw("must have an array of names in 'required'")
    for name in names:
        if name in ATTRIBUTES and name not in REQUIRABLE:
            known = ", ".join(sorted(REQUIRABLE))
            raise _Flaw(
                f"requires {name!r}, which every image has or imaged sets; of the attributes only "
                f"{known} can be required: remove it"
            )
    return frozenset(names)


def _property(name: str, schema: object) -> PropertySchema:
    place = f"has in the schema of {name!r}"
    if name in ATTRIBUTES:
        raise _Flaw(f"describes {name!r}, which is an attribute of every image; remove it")
    try:
        validate_property(name, "")
    except ImagedError as error:
        raise _Flaw(f"has a property that no image can have. {error}"[:-1]) from error
    if not isinstance(schema, dict):
        raise _Flaw(f"must have an object as the schema of {name!r}")
    for keyword in schema:
        if keyword not in _KNOWN:
            raise _Flaw(
                f"{place} the keyword {keyword!r}, which imaged does not enforce; known: "
                f"{', '.join(_KNOWN)}. Remove it"
            )
    limits: dict[str, Any] = {}
    for keyword, limit in {**_LENGTHS, **_BOUNDS}.items():
        if keyword in schema:
            limits[limit] = _number(place, keyword, schema[keyword])
    return PropertySchema(
        description=_text(place, "description", schema.get("description", "")),
        types=_types(place, schema.get("type", "string")),
        choices=_choices(place, schema["enum"]) if "enum" in schema else None,
        pattern=_pattern(place, schema["pattern"]) if "pattern" in schema else None,
        **limits,
    )


def _types(place: str, kinds: object) -> tuple[PropertyType, ...]:
    listed = kinds if isinstance(kinds, list) else [kinds]
    if not listed or not all(kind in set(PropertyType) for kind in listed):
        known = ", ".join(PropertyType)
        raise _Flaw(f"{place} the 'type' {json.dumps(kinds)}; use {known}, or some of them")
    return tuple(PropertyType(str(kind)) for kind in listed)


def _choices(place: str, values: object) -> tuple[PropertyValue, ...]:
    scalars = (str, bool, int, float, type(None))
    if not isinstance(values, list) or not values:
        raise _Flaw(f"{place} an 'enum' that is no array with values")
    if not all(isinstance(value, scalars) for value in values):
        raise _Flaw(f"{place} an 'enum' with objects or arrays; no property is one")
    return tuple(values)


def _pattern(place: str, pattern: object) -> str:
    text = _text(place, "pattern", pattern)
    try:
        re.compile(text)
    except re.error as error:
        raise _Flaw(f"{place} a 'pattern' that is no regular expression: {error}") from error
    return text


def _text(place: str, keyword: str, value: object) -> str:
    if not isinstance(value, str):
        raise _Flaw(f"{place} a {keyword!r} that is no text")
    return value


def _number(place: str, keyword: str, value: object) -> float:
    kinds = int if keyword in _LENGTHS else int | float
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise _Flaw(f"{place} a {keyword!r} that is no number")
    return value
