"""Translates the query string of a list of tasks to a query of the core, and back for links."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from imaged.api.filters import number
from imaged.api.requests import is_uuid
from imaged.core.access import Caller
from imaged.core.attributes import is_printable
from imaged.core.errors import InvalidQuery
from imaged.core.task import TaskStatus
from imaged.core.task_query import TaskColumn, TaskQuery

DEFAULT_LIMIT = 25
MAX_LIMIT = 1000
TASKS_PATH = "/v2/tasks"
TASK_PARAMETERS = ("limit", "marker", "sort_key", "sort_dir", "type", "status", "owner", "image_id")
DIRECTIONS = {"asc": False, "desc": True}


@dataclass(frozen=True, slots=True)
class TaskListing:
    """A requested list. The id of a page's last task marks the next page."""

    query: TaskQuery  # without ``after``: the marker is looked up first
    marker: str | None
    parameters: Sequence[tuple[str, str]]

    @property
    def first(self) -> str:
        """The address of the first page."""
        return _address(self._unmarked())

    def next_after(self, task_id: str) -> str:
        """The address of the page after this task."""
        return _address([*self._unmarked(), ("marker", task_id)])

    def _unmarked(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.parameters if name != "marker"]


def read_task_listing(
    caller: Caller, parameters: QueryParams, types: Collection[str]
) -> TaskListing:
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
        limit=min(number("limit", given["limit"]), MAX_LIMIT)
        if "limit" in given
        else DEFAULT_LIMIT,
    )
    return TaskListing(query, given.get("marker"), list(given.items()))


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


def _address(pairs: Sequence[tuple[str, str]]) -> str:
    query = urlencode(pairs)
    return f"{TASKS_PATH}?{query}" if query else TASKS_PATH
