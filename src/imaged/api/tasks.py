"""Tasks: ``/v2/tasks``, ``/v2/tasks/{task_id}``, and those of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.bodies import json_object_of, json_response
from imaged.api.listing import read_task_listing
from imaged.api.resource import Links, caller_of, image_id_of, request_id_of, task_id_of
from imaged.api.serialize import task_json, task_path, task_summary_json
from imaged.core.errors import InvalidRequest
from imaged.core.task import Task
from imaged.services.tasks.task_service import TaskService

TASK_FIELDS = ("type", "input")


class TaskRecords:
    """Creates, lists, shows, cancels and removes tasks."""

    def __init__(self, task_service: TaskService, links: Links) -> None:
        self._task_service = task_service
        self._links = links

    async def create(self, request: Request) -> Response:
        """Answer 201 with the new task and its address."""
        caller = caller_of(request)
        name, fields = _asked(await json_object_of(request, "a task's 'type' and 'input'"))
        task = await self._task_service.create(caller, name, fields, request_id_of(request))
        headers = {"Location": self._links.absolute(request, task_path(task.id))}
        return _shown(task, 201, headers)

    async def show(self, request: Request) -> Response:
        """Answer 200 with the task."""
        return _shown(await self._task_service.show(caller_of(request), task_id_of(request)))

    async def list(self, request: Request) -> Response:
        """Answer 200 with a page of tasks and the address of the next page."""
        caller = caller_of(request)
        listing = read_task_listing(caller, request.query_params, self._task_service.registry.names)
        after = await listing.marked(partial(self._task_service.show, caller))
        limit = listing.query.limit
        # One task more than requested tells whether another page follows.
        wanted = replace(listing.query, after=after, limit=limit + 1)
        found = await self._task_service.list(wanted) if limit else ()
        shown = [task_summary_json(task) for task in found[:limit]]
        return json_response(listing.page(shown, is_last=len(found) <= limit))

    async def list_for_image(self, request: Request) -> Response:
        """Answer 200 with the caller's tasks on an image."""
        tasks = await self._task_service.list_for_image(caller_of(request), image_id_of(request))
        return json_response({"tasks": [task_json(task) for task in tasks]})

    async def cancel(self, request: Request) -> Response:
        """Answer 200 with the task, which has failed now."""
        return _shown(await self._task_service.cancel(caller_of(request), task_id_of(request)))

    async def delete(self, request: Request) -> Response:
        """Answer 204: the record of the ended task is removed."""
        await self._task_service.remove(caller_of(request), task_id_of(request))
        return Response(status_code=204)


def _asked(body: Mapping[str, Any]) -> tuple[str, dict[str, object]]:
    """Type and input of a task. Raises InvalidRequest."""
    for name in TASK_FIELDS:
        if body.get(name) is None:
            raise InvalidRequest(f"The task's {name!r} is missing.")
    for name in body:
        if name not in TASK_FIELDS:
            raise InvalidRequest(f"The field {name!r} of a task cannot be set by clients.")
    name, fields = body["type"], body["input"]
    if not isinstance(name, str):
        raise InvalidRequest("The task's 'type' must be a string.")
    if not isinstance(fields, dict):
        raise InvalidRequest("The task's 'input' must be a JSON object.")
    return name, fields


def _shown(task: Task, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return json_response(task_json(task), status, headers)
