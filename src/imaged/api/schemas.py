"""The JSON schemas of images, their members, tasks, and lists of them.

Those of images are generated from the table of attributes, and from what the operator describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_response
from imaged.core.attributes import ATTRIBUTES, UUID_PATTERN, Attribute, JsonType, Writable
from imaged.core.image_schema import ImageSchema, PropertySchema
from imaged.core.member import MemberStatus
from imaged.core.task import TaskStatus
from imaged.services.images import Images

OR_NULL = "null"

#: Of a single task only; lists omit them.
DETAILS = ("input", "result", "message")


class ImageSchemas:
    """``/v2/schemas/image`` and ``/v2/schemas/images``, as the operator describes images now."""

    def __init__(self, images: Images) -> None:
        self._images = images

    async def show_image(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the schema of an image."""
        return json_response(image_schema(self._images.schema))

    async def show_images(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the schema of a list of images."""
        return json_response(images_schema(self._images.schema))


async def show_member_schema(request: Request) -> Response:  # noqa: ARG001 - a handler
    """Answer 200 with the schema of a member of an image."""
    return json_response(member_schema())


async def show_members_schema(request: Request) -> Response:  # noqa: ARG001 - a handler
    """Answer 200 with the schema of the members of an image."""
    return json_response(members_schema())


class TaskSchemas:
    """``/v2/schemas/task`` and ``/v2/schemas/tasks``."""

    def __init__(self, types: Sequence[str]) -> None:
        self._types = types

    async def show_task(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the schema of a task."""
        return json_response(task_schema(self._types))

    async def show_tasks(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with the schema of a list of tasks."""
        return json_response(tasks_schema(self._types))


def image_schema(described: ImageSchema) -> dict[str, Any]:
    """The schema of an image; names that are not in it are strings set by clients."""
    properties = {name: _property(attribute) for name, attribute in ATTRIBUTES.items()}
    for name, formats in (
        ("disk_format", described.disk_formats),
        ("container_format", described.container_formats),
    ):
        properties[name] |= {"enum": [None, *formats]}
        del properties[name]["maxLength"]
    properties |= {name: _described(schema) for name, schema in described.properties.items()}
    required = {"required": sorted(described.required)} if described.required else {}
    return {
        "name": "image",
        "properties": properties,
        "additionalProperties": {"type": "string"},
        **required,
        "links": [
            {"rel": "self", "href": "{self}"},
            {"rel": "enclosure", "href": "{file}"},
            {"rel": "describedby", "href": "{schema}"},
        ],
    }


def images_schema(described: ImageSchema) -> dict[str, Any]:
    """The schema of a page of images."""
    return _page_schema("images", image_schema(described))


def member_schema() -> dict[str, Any]:
    """The schema of a member."""
    return {
        "name": "member",
        "properties": {
            "member_id": _text("The project with which the image is shared."),
            "image_id": _text("The identifier of the image.", pattern=UUID_PATTERN),
            "status": _text(
                "The answer of that project, on which its lists depend.",
                enum=[str(status) for status in MemberStatus],
            ),
            "created_at": _text("When the image was shared with the project."),
            "updated_at": _text("When the project last answered, or else the same."),
            "schema": {"readOnly": True, **_text("The path of the schema of a member.")},
        },
    }


def members_schema() -> dict[str, Any]:
    """The schema of all members of an image, which are one page."""
    return {
        "name": "members",
        "properties": {
            "members": {"type": "array", "items": member_schema()},
            "schema": {"type": "string"},
        },
        "links": [{"rel": "describedby", "href": "{schema}"}],
    }


def task_schema(types: Sequence[str]) -> dict[str, Any]:
    """The schema of a task."""
    return {"name": "task", "properties": _task_properties(types)}


def tasks_schema(types: Sequence[str]) -> dict[str, Any]:
    """The schema of a page of tasks."""
    shown = {name: kind for name, kind in _task_properties(types).items() if name not in DETAILS}
    return _page_schema("tasks", {"name": "task", "properties": shown})


def _page_schema(collection: str, item: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": collection,
        "properties": {
            collection: {"type": "array", "items": item},
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
        "type": [OR_NULL, attribute.kind] if attribute.is_nullable else attribute.kind
    }
    if attribute.writable is Writable.NEVER:
        schema["readOnly"] = True
    schema["description"] = attribute.description
    if attribute.kind is JsonType.ARRAY:
        schema["items"] = _items(attribute)
        return schema
    if attribute.max_length is not None:
        schema["maxLength"] = attribute.max_length
    if attribute.pattern is not None:
        schema["pattern"] = attribute.pattern
    if attribute.choices:
        schema["enum"] = [*([None] if attribute.is_nullable else []), *attribute.choices]
    return schema


def _described(schema: PropertySchema) -> dict[str, Any]:
    """A property as the operator describes it. Clients tell it from attributes by ``is_base``."""
    kinds = [str(kind) for kind in schema.types]
    limits = {
        "enum": schema.choices,
        "pattern": schema.pattern,
        "minLength": schema.min_length,
        "maxLength": schema.max_length,
        "minimum": schema.minimum,
        "maximum": schema.maximum,
    }
    return {
        "type": kinds[0] if len(kinds) == 1 else kinds,
        "description": schema.description,
        **{keyword: limit for keyword, limit in limits.items() if limit is not None},
        "is_base": False,
    }


def _items(attribute: Attribute) -> dict[str, Any]:
    if attribute.max_length is None:
        return {"type": "object"}
    return {"type": "string", "maxLength": attribute.max_length}


def _task_properties(types: Sequence[str]) -> dict[str, Any]:
    return {
        "id": _text("The identifier of the task.", pattern=UUID_PATTERN),
        "type": _text("The type of the task.", enum=list(types)),
        "status": _text("The status of the task.", enum=[str(status) for status in TaskStatus]),
        "input": _table("The input of the task, without secret fields."),
        "result": _table("The result; null unless the task succeeded."),
        "message": _text("Why the task failed; null unless it did.", nullable=True),
        "owner": _text("The project that created it."),
        "user_id": _text("The user that created it."),
        "request_id": _text("The id of the request that created it.", nullable=True),
        "image_id": _text("The image that it concerns.", nullable=True),
        "progress": {
            **_table("The progress; null before the task has begun."),
            "properties": {
                "phase": _text("The current step."),
                "done_bytes": _count("The bytes done in this step."),
                "total_bytes": _count("The bytes to do in this step."),
                "percent": _count("The share that is done, in percent."),
            },
        },
        "expires_at": _text("When its record is removed; null until it has ended.", nullable=True),
        "created_at": _text("When it was created."),
        "updated_at": _text("When it was last changed."),
        "self": {"readOnly": True, **_text("The path of the task.")},
        "schema": {"readOnly": True, **_text("The path of the schema of a task.")},
    }


def _text(description: str, *, nullable: bool = False, **more: object) -> dict[str, Any]:
    kind = [OR_NULL, "string"] if nullable else "string"
    return {"description": description, "type": kind, **more}


def _count(description: str) -> dict[str, Any]:
    return {"description": description, "type": [OR_NULL, "integer"]}


def _table(description: str) -> dict[str, Any]:
    return {"description": description, "type": [OR_NULL, "object"]}
