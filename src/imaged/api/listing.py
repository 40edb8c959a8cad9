"""Translates the query string of a list of images to a query of the core."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.datastructures import QueryParams

from imaged.api.filters import conditions, flag
from imaged.api.pages import Listing, read_limit
from imaged.core.access import Caller
from imaged.core.attributes import is_printable
from imaged.core.errors import InvalidQuery
from imaged.core.image import Visibility
from imaged.core.limits import MAX_PROPERTIES, MAX_TAGS
from imaged.core.query import NEWEST_FIRST, SORTABLE, Column, Condition, ImageQuery, Operator, Order

MEMBER_STATUSES = ("accepted", "pending", "rejected", "all")
IMAGES_PATH = "/v2/images"

_SORTABLE = {"size" if column is Column.SIZE else column.value: column for column in SORTABLE}
_DIRECTIONS = {"asc": False, "desc": True}
_PAGING = frozenset({"limit", "marker", "sort", "sort_key", "sort_dir"})
_SPECIAL = frozenset({"tag", "visibility", "member_status", "os_hidden"})
_NOT_COMPARED = frozenset({"virtual_size", "changes-since"})


def read_listing(caller: Caller, parameters: QueryParams) -> Listing[ImageQuery]:
    """Parse a query string; the last value of a repeated parameter counts, except for tags and sort
    keys. Raises InvalidQuery.
    """
    pairs = parameters.multi_items()
    for name, value in pairs:
        if not (is_printable(name) and is_printable(value)):
            raise InvalidQuery(name, "has unprintable characters")
    visibility = _visibility(parameters.get("visibility"))
    _check_member_status(parameters.get("member_status", "accepted"))
    compared, properties = _filters(dict(pairs))
    tags = tuple(dict.fromkeys(parameters.getlist("tag")))
    if len(tags) > MAX_TAGS:
        raise InvalidQuery("tag", f"occurs {len(tags)} times; an image has at most {MAX_TAGS} tags")
    query = ImageQuery(
        caller=caller,
        conditions=(*compared, _hidden(parameters.get("os_hidden", "false"))),
        visibility=visibility,
        any_visibility=parameters.get("visibility") == "all",
        tags=tags,
        properties=properties,
        order=_order(parameters),
        limit=read_limit(parameters.get("limit")),
    )
    return Listing(IMAGES_PATH, query, parameters.get("marker"), pairs)


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
        found = conditions(name, value)
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


def _check_member_status(text: str) -> None:
    if text not in MEMBER_STATUSES:
        raise InvalidQuery("member_status", f"must be one of {', '.join(MEMBER_STATUSES)}")


def _hidden(text: str) -> Condition:
    return Condition(Column.HIDDEN, Operator.EQUAL, flag("os_hidden", text))


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
        Order(_column("sort_key", key), _is_descending("sort_dir", direction))
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
