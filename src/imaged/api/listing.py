"""Translates the query strings of lists of images and of tasks to queries of the core.

A list is answered in pages; the answer has the addresses of the first and the next page.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

from imaged.api.filters import read_conditions, read_flag, read_number
from imaged.api.resource import is_uuid
from imaged.core.access import Caller
from imaged.core.attributes import is_printable
from imaged.core.errors import InvalidQuery, TaskNotFound
from imaged.core.image import Visibility
from imaged.core.limits import MAX_PROPERTIES, MAX_TAGS
from imaged.core.member import MemberStatus
from imaged.core.query import (
    NEWEST_FIRST,
    SORTABLE,
    Column,
    Condition,
    ImageQuery,
    Operator,
    Order,
    TaskColumn,
    TaskQuery,
)
from imaged.core.task import TaskStatus

DEFAULT_LIMIT = 25
MAX_LIMIT = 1000
TASK_PARAMETERS = ("limit", "marker", "sort_key", "sort_dir", "type", "status", "owner", "image_id")

_SORTABLE = {"size" if column is Column.SIZE else column.value: column for column in SORTABLE}
_DIRECTIONS = {"asc": False, "desc": True}
_PAGING = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir"})
_SPECIAL = frozenset({"tag", "visibility", "member_status", "os_hidden"})
_NOT_COMPARED = frozenset({"changes-since"})

QueryT = TypeVar("QueryT")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Listing(Generic[QueryT]):
    """A requested list. The id of a page's last item marks the next page."""

    collection: str  # what is listed, in the plural
    query: QueryT  # without the marker
    marker: str | None
    parameters: Sequence[tuple[str, str]]

    async def marked(self, show: Callable[[str], Awaitable[ItemT]]) -> ItemT | None:
        """The item that the marker names; None without a marker. Raises InvalidQuery."""
        marker = self.marker_id()
        try:
            return None if marker is None else await show(marker)
        except TaskNotFound as error:
            raise self.unknown_marker() from error

    def marker_id(self) -> str | None:
        """The id of the last item of the previous page. Raises InvalidQuery."""
        if self.marker is not None and not is_uuid(self.marker):
            raise self.unknown_marker()
        return None if self.marker is None else self.marker.lower()

    def unknown_marker(self) -> InvalidQuery:
        """Why there is no page behind the marker."""
        kind = self.collection.removesuffix("s")
        return InvalidQuery("marker", f"names no {kind} that you can see")

    def page(self, items: Sequence[Mapping[str, object]], *, is_last: bool) -> dict[str, object]:
        """The answer with the items of one page, which has no items if the limit is 0."""
        unmarked = [(name, value) for name, value in self.parameters if name != "marker"]
        page: dict[str, object] = {
            self.collection: items,
            "first": self._address(unmarked),
            "schema": f"/v2/schemas/{self.collection}",
        }
        if items and not is_last:
            page["next"] = self._address([*unmarked, ("marker", str(items[-1]["id"]))])
        return page

    def _address(self, pairs: Iterable[tuple[str, str]]) -> str:
        path, query = f"/v2/{self.collection}", urlencode(list(pairs))
        return f"{path}?{query}" if query else path


def read_listing(caller: Caller, parameters: QueryParams) -> Listing[ImageQuery]:
    """Parse a query string; the last value of a repeated parameter counts, except for tags and sort
    keys. Raises InvalidQuery.
    """
    pairs = parameters.multi_items()
    for name, value in pairs:
        if not (is_printable(name) and is_printable(value)):
            raise InvalidQuery(name, "has unprintable characters")
    visibility = _visibility(parameters.get("visibility"))
    compared, properties = _filters(dict(pairs))
    tags = tuple(dict.fromkeys(parameters.getlist("tag")))
    if len(tags) > MAX_TAGS:
        raise InvalidQuery("tag", f"occurs {len(tags)} times; an image has at most {MAX_TAGS} tags")
    query = ImageQuery(
        caller=caller,
        conditions=(*compared, _hidden(parameters.get("os_hidden", "false"))),
        visibility=visibility,
        member_status=_member_status(parameters.get("member_status", "accepted")),
        any_visibility=parameters.get("visibility") == "all",
        tags=tags,
        properties=properties,
        order=_order(parameters),
        limit=_read_limit(parameters.get("limit")),
    )
    return Listing("images", query, parameters.get("marker"), pairs)


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
        descending=_DIRECTIONS[_one_of("sort_dir", given.get("sort_dir"), _DIRECTIONS) or "desc"],
        limit=_read_limit(given.get("limit")),
    )
    return Listing("tasks", query, given.get("marker"), list(given.items()))


def _read_limit(text: str | None) -> int:
    """The number of items on a page. Raises InvalidQuery."""
    return DEFAULT_LIMIT if text is None else min(read_number("limit", text), MAX_LIMIT)


def _filters(
    parameters: dict[str, str],
) -> tuple[tuple[Condition, ...], tuple[tuple[str, str], ...]]:
    """The conditions on attributes; all other names are properties."""
    compared: list[Condition] = []
    properties: list[tuple[str, str]] = []
    for name, value in parameters.items():
        if name in _PAGING or name in _SPECIAL:
            continue
        if name in _NOT_COMPARED:
            raise InvalidQuery(name, "is not a parameter of lists of images")
        found = read_conditions(name, value)
        if found is None:
            properties.append((name, value))
            if len(properties) > MAX_PROPERTIES:
                raise InvalidQuery(
                    name, f"is one too many: an image has at most {MAX_PROPERTIES} properties"
                )
        else:
            compared += found
    return tuple(compared), tuple(properties)


def _visibility(text: str | None) -> Visibility | None:
    if text is None or text == "all":
        return None
    try:
        return Visibility(text)
    except ValueError:
        known = ", ".join(Visibility)
        raise InvalidQuery("visibility", f"must be one of {known}, all") from None


def _member_status(text: str) -> MemberStatus | None:
    if text == "all":
        return None
    try:
        return MemberStatus(text)
    except ValueError:
        known = ", ".join(MemberStatus)
        raise InvalidQuery("member_status", f"must be one of {known}, all") from None


def _hidden(text: str) -> Condition:
    return Condition(Column.HIDDEN, Operator.EQUAL, read_flag("os_hidden", text))


def _order(parameters: QueryParams) -> tuple[Order, ...]:
    keys, directions = parameters.getlist("sort_key"), parameters.getlist("sort_dir")
    if "sort" not in parameters:
        return _order_by_keys(keys, directions)
    if keys or directions:
        raise InvalidQuery("sort", "cannot be combined with 'sort_key' and 'sort_dir'")
    pairs = [item.partition(":") for item in parameters["sort"].split(",")]
    return _unique(
        Order(_column("sort", key.strip()), _is_descending("sort", direction.strip() or "desc"))
        for key, _, direction in pairs
    )


def _order_by_keys(keys: list[str], directions: list[str]) -> tuple[Order, ...]:
    if not keys and not directions:
        return NEWEST_FIRST
    keys = keys or ["created_at"]
    if len(directions) < 2:  # noqa: PLR2004 - one for all, or none
        directions = (directions or ["desc"]) * len(keys)
    if len(directions) != len(keys):
        raise InvalidQuery("sort_dir", "must occur once, or as often as 'sort_key'")
    return _unique(
        Order(_column("sort_key", key.strip()), _is_descending("sort_dir", direction.strip()))
        for key, direction in zip(keys, directions, strict=True)
    )


def _unique(order: Iterable[Order]) -> tuple[Order, ...]:
    """The order without repeated keys, which have no effect."""
    by_column: dict[Column, Order] = {}
    for key in order:
        by_column.setdefault(key.column, key)
    return tuple(by_column.values())


def _column(name: str, key: str) -> Column:
    try:
        return _SORTABLE[key]
    except KeyError:
        raise InvalidQuery(name, f"has the key {key!r}; possible: {', '.join(_SORTABLE)}") from None


def _is_descending(name: str, direction: str) -> bool:
    try:
        return _DIRECTIONS[direction]
    except KeyError:
        raise InvalidQuery(name, f"has the direction {direction!r}; possible: asc, desc") from None


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
