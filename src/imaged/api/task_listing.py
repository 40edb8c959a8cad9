"""Translates the query string of a list of tasks to a query of the core."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from starlette.datastructures import QueryParams

from imaged.api.pages import Listing, read_limit
from imaged.api.requests import is_uuid
from imaged.core.access import Caller
from imaged.core.attributes import is_printable
from imaged.core.errors import InvalidQuery
from imaged.core.task import TaskStatus
from imaged.core.task_query import TaskColumn, TaskQuery

TASKS_PATH = "/v2/tasks"
TASK_PARAMETERS = ("limit", "marker", "sort_key", "sort_dir", "type", "status", "owner", "image_id")
DIRECTIONS = {"asc": False, "desc": True}


def read_task_listing(
    caller: Caller, parameters: QueryParams, types: Collection[str]
) -> Listing[TaskQuery]:
    """Parse a query string; the last value of a repeated parameter counts.

    Raises InvalidQuery.
    """
    given = dict(parameters.multi_items())
    for name, value in given.items():
        if name not in TASK_PARAMETERS:
            raise InvalidQuery(
                name, f"is not a parameter of lists of tasks: {', '.join(TASK_PARAMETERS)}"
            )
        if not is_printable(value):
            raise InvalidQuery(name, "has unprintable characters")
    status = _one_of("status", given.get("status"), TaskStatus)
    query = TaskQuery(
        caller=caller,
        type=_one_of("type", given.get("type"), types),
        status=None if status is None else TaskStatus(status),
        owner=given.get("owner"),
        image_id=_image_id(given.get("image_id")),
        sort_by=TaskColumn(
            _one_of("sort_key", given.get("sort_key"), TaskColumn) or TaskColumn.CREATED_AT
        ),
        descending=DIRECTIONS[_one_of("sort_dir", given.get("sort_dir"), DIRECTIONS) or "desc"],
        limit=read_limit(given.get("limit")),
    )
    return Listing(TASKS_PATH, query, given.get("marker"), list(given.items()))


def _one_of(name: str, value: str | None, known: Iterable[str]) -> str | None:
    choices = [str(choice) for choice in known]
    if value is not None and value not in choices:
        raise InvalidQuery(name, f"is {value!r}; possible: {', '.join(choices)}")
    return value


def _image_id(text: str | None) -> str | None:
    if text is None:
        return None
    if not is_uuid(text):
        raise InvalidQuery("image_id", "is not the id of an image")
    return text.lower()
