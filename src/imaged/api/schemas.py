"""The JSON schemas of an image and of a list of images, generated from the table of attributes."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.serialize import encode
from imaged.core.attributes import ATTRIBUTES, Attribute, Kind, Writable


async def show_image_schema(request: Request) -> Response:  # noqa: ARG001 - a handler
    """Answer 200 with the schema of an image."""
    return Response(encode(image_schema()), media_type="application/json")


async def show_images_schema(request: Request) -> Response:  # noqa: ARG001 - a handler
    """Answer 200 with the schema of a list of images."""
    return Response(encode(images_schema()), media_type="application/json")


def image_schema() -> dict[str, Any]:
    """The schema of an image; names that are not in the table are strings set by clients."""
    return {
        "name": "image",
        "properties": {name: _property(attribute) for name, attribute in ATTRIBUTES.items()},
        "additionalProperties": {"type": "string"},
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images_schema() -> dict[str, Any]:
    """The schema of a page of images."""
    return {
        "name": "images",
        "properties": {
            "images": {"type": "array", "items": image_schema()},
            "first": {"type": "string"},
            "next": {"type": "string"},
            "schema": {"type": "string"},
        },
        "links": [
            {"rel": "first", "href": "{first}"},
            {"rel": "next", "href": "{next}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def _property(attribute: Attribute) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "type": ["null", attribute.kind] if attribute.is_nullable else attribute.kind
    }
    if attribute.writable is Writable.NEVER:
        schema["readOnly"] = True
    schema["description"] = attribute.description
    if attribute.kind is Kind.ARRAY:
        schema["items"] = _items(attribute)
        return schema
    if attribute.max_length is not None:
        schema["maxLength"] = attribute.max_length
    if attribute.pattern is not None:
        schema["pattern"] = attribute.pattern
    if attribute.choices:
        schema["enum"] = [*([None] if attribute.is_nullable else []), *attribute.choices]
    return schema


def _items(attribute: Attribute) -> dict[str, Any]:
    if attribute.max_length is None:
        return {"type": "object"}
    return {"type": "string", "maxLength": attribute.max_length}
