"""The JSON schemas of a task and of a list of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.serialize import encode
from imaged.core.attributes import UUID_PATTERN
from imaged.core.task import TaskStatus

OR_NULL = "null"

#: Of one task only; a list leaves them out.
DETAILS = ("input", "result", "message")


class TaskSchemas:
    """``/v2/schemas/task`` and ``/v2/schemas/tasks``."""

    def __init__(self, types: Sequence[str]) -> None:
        self._types = types

    async def show_task(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with what a task looks like."""
        return Response(encode(task_schema(self._types)), media_type="application/json")

    async def show_tasks(self, request: Request) -> Response:  # noqa: ARG002 - a handler
        """Answer 200 with what a list of tasks looks like."""
        return Response(encode(tasks_schema(self._types)), media_type="application/json")


def task_schema(types: Sequence[str]) -> dict[str, Any]:
    """What a task looks like."""
    return {"name": "task", "properties": _properties(types)}


def tasks_schema(types: Sequence[str]) -> dict[str, Any]:
    """What a page of tasks looks like."""
    shown = {name: kind for name, kind in _properties(types).items() if name not in DETAILS}
    return {
        "name": "tasks",
        "properties": {
            "tasks": {"type": "array", "items": {"name": "task", "properties": shown}},
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


def _properties(types: Sequence[str]) -> dict[str, Any]:
    return {
        "id": _text("What the task is known by.", pattern=UUID_PATTERN),
        "type": _text("What is to be done.", enum=list(types)),
        "status": _text("Where it is in its life.", enum=[str(status) for status in TaskStatus]),
        "input": _table("What was asked for, without what is secret."),
        "result": _table("What came of it; null unless it was successful."),
        "message": _text("Why it failed; null unless it did.", nullable=True),
        "owner": _text("The project that asked for it."),
        "user_id": _text("Who asked for it."),
        "request_id": _text("The request that asked for it.", nullable=True),
        "image_id": _text("The image that it is about.", nullable=True),
        "progress": {
            **_table("How far it is; null before it has begun."),
            "properties": {
                "phase": _text("What is being done."),
                "done_bytes": _count("How much of it is done."),
                "total_bytes": _count("How much there is to be done."),
                "percent": _count("The same as a share."),
            },
        },
        "expires_at": _text("When its record goes; null until it has ended.", nullable=True),
        "created_at": _text("When it was asked for."),
        "updated_at": _text("When it changed last."),
        "self": {"readOnly": True, **_text("Where the task is.")},
        "schema": {"readOnly": True, **_text("Where the schema of a task is.")},
    }


def _text(description: str, *, nullable: bool = False, **more: object) -> dict[str, Any]:
    kind = [OR_NULL, "string"] if nullable else "string"
    return {"description": description, "type": kind, **more}


def _count(description: str) -> dict[str, Any]:
    return {"description": description, "type": [OR_NULL, "integer"]}


def _table(description: str) -> dict[str, Any]:
    return {"description": description, "type": [OR_NULL, "object"]}
