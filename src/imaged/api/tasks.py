"""Tasks: ``/v2/tasks``, ``/v2/tasks/{task_id}``, and those of an image."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from starlette.requests import Request
from starlette.responses import Response

from imaged.api.json_bodies import json_of
from imaged.api.links import Links
from imaged.api.requests import caller_of, image_id_of, request_id_of, task_id_of
from imaged.api.serialize import encode
from imaged.api.serialize_task import task_json, task_path, task_summary_json
from imaged.api.task_listing import read_task_listing
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
        caller, body = caller_of(request), await json_of(request)
        name, fields = _asked(body)
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
        after = await listing.marked(partial(self._task_service.show, caller), "task")
        query, limit = listing.query, listing.query.limit
        # One task more than requested tells whether another page follows.
        wanted = replace(query, after=after, limit=limit + 1)
        page = await self._task_service.list(wanted) if limit else ()
        body: dict[str, object] = {
            "tasks": [task_summary_json(task) for task in page[:limit]],
            "first": listing.first,
            "schema": "/v2/schemas/tasks",
        }
        if len(page) > limit > 0:
            body["next"] = listing.next_after(page[limit - 1].id)
        return Response(encode(body), media_type="application/json")

    async def list_for_image(self, request: Request) -> Response:
        """Answer 200 with the caller's tasks on an image."""
        tasks = await self._task_service.list_for_image(caller_of(request), image_id_of(request))
        body = {"tasks": [task_json(task) for task in tasks]}
        return Response(encode(body), media_type="application/json")

    async def cancel(self, request: Request) -> Response:
        """Answer 200 with the task, which has failed now."""
        return _shown(await self._task_service.cancel(caller_of(request), task_id_of(request)))

    async def delete(self, request: Request) -> Response:
        """Answer 204: the record of the ended task is removed."""
        await self._task_service.remove(caller_of(request), task_id_of(request))
        return Response(status_code=204)


def _asked(body: object) -> tuple[str, dict[str, object]]:
    """Type and input of a task. Raises InvalidRequest."""
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object with a task's 'type' and 'input'.")
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
    return Response(encode(task_json(task)), status, headers, "application/json")
