"""Makes the page of an image's attributes, from the schema that the API serves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imaged.api.schemas import image_schema, images_schema
from imaged.core import limits
from imaged.core.attributes import ATTRIBUTES, RESERVED_NAMES, RESERVED_PREFIXES, Writable
from imaged.core.image_schema import DEFAULT_SCHEMA
from references.markdown import MADE, code, table

_HEAD = f"""\
# Schemas

{MADE}

For authors of clients. `GET /v2/schemas/image` and `GET /v2/schemas/images` serve the same as
JSON schemas.

## An image
"""

_WRITERS: Mapping[Writable, str] = {
    Writable.NEVER: "imaged",
    Writable.AT_CREATION: "its creator, once",
    Writable.BEFORE_DATA: "its owner, before the data",
    Writable.ALWAYS: "its owner",
}


def reference() -> str:
    """The page."""
    properties: Mapping[str, Mapping[str, Any]] = image_schema(DEFAULT_SCHEMA)["properties"]
    rows = (
        (
            code(name),
            _types(schema),
            _WRITERS[ATTRIBUTES[name].writable] if name in ATTRIBUTES else "its owner",
            f"{schema['description']} {_limits(schema)}",
        )
        for name, schema in properties.items()
    )
    head = ("attribute", "type", "written by", "")
    return f"{_HEAD}\n{table(head, rows)}\n{_properties()}\n{_lists()}"


def _properties() -> str:
    reserved = ", ".join(code(name) for name in sorted(RESERVED_NAMES))
    prefixes = ", ".join(code(prefix) for prefix in RESERVED_PREFIXES)
    return f"""\
Those from `kernel_id` on are properties that `images.schema_file` can describe otherwise
([how to](../how-to/describe-properties.md)). The formats are those of `images.disk_formats` and
`images.container_formats`.

Every other name is a property of the client's own: a name of up to
{limits.MAX_PROPERTY_NAME_LENGTH} characters and a string of up to
{limits.MAX_PROPERTY_VALUE_LENGTH:,}. Names that begin with {prefixes} are imaged's, and so are
{reserved}.

An image has up to {limits.MAX_PROPERTIES} properties and {limits.MAX_TAGS} tags, and a body in JSON
has up to {limits.MAX_REQUEST_BYTES:,} bytes. Times are in UTC, truncated to seconds.
"""


def _lists() -> str:
    rows = (
        (code(name), _types(schema))
        for name, schema in images_schema(DEFAULT_SCHEMA)["properties"].items()
    )
    return f"""\
## A list of images

{table(("member", "type"), rows)}
`next` is present only if there are more images.
"""


def _types(schema: Mapping[str, Any]) -> str:
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " or ".join(kinds)


def _limits(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        return f"One of {', '.join(code(json.dumps(value)) for value in schema['enum'])}."
    if schema.get("pattern"):
        return "A UUID."
    within = schema.get("items", {}).get("maxLength")
    if within is not None:
        return f"Each has up to {within} characters."
    return f"Up to {schema['maxLength']} characters." if "maxLength" in schema else ""
