"""Queries for lists of images and of tasks: the caller, the conditions, the order and the start.

``matches`` and ``page_of_images``, and those of ``task_pages.py``, define in plain Python what the
statements of every catalog must return.

An order is total: the creation time and then the id break ties, in the direction of the last key.
A value that is not set sorts before all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from operator import eq, ge, gt, le, lt, ne
from typing import Any

from imaged.core.access import Caller
from imaged.core.image import Image, Visibility, property_text
from imaged.core.lifecycle import GONE
from imaged.core.limits import size_of_properties
from imaged.core.member import MemberStatus
from imaged.core.task import Task, TaskStatus

LISTED_BASE_BYTES = 1024  # of an image in a list without tags and properties, at most


class Operator(StrEnum):
    """A comparison of values."""

    EQUAL = "eq"
    NOT_EQUAL = "neq"
    GREATER = "gt"
    GREATER_OR_EQUAL = "gte"
    LESS = "lt"
    LESS_OR_EQUAL = "lte"
    ONE_OF = "in"


class Column(StrEnum):
    """Columns for conditions and, if in SORTABLE, for sorting; named as in the catalog."""

    ID = "id"
    NAME = "name"
    OWNER = "owner"
    STATUS = "status"
    VISIBILITY = "visibility"
    DISK_FORMAT = "disk_format"
    CONTAINER_FORMAT = "container_format"
    PROTECTED = "protected"
    HIDDEN = "hidden"
    MIN_RAM = "min_ram_mib"
    MIN_DISK = "min_disk_gib"
    SIZE = "size_bytes"
    VIRTUAL_SIZE = "virtual_size_bytes"
    CHECKSUM = "checksum"
    HASH_ALGORITHM = "hash_algorithm"
    HASH_VALUE = "hash_value"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


SORTABLE = (
    Column.NAME,
    Column.STATUS,
    Column.CONTAINER_FORMAT,
    Column.DISK_FORMAT,
    Column.SIZE,
    Column.ID,
    Column.CREATED_AT,
    Column.UPDATED_AT,
)

#: Columns of the image's content; they have no value before the data is complete.
OF_CONTENT = frozenset(
    {
        Column.SIZE,
        Column.VIRTUAL_SIZE,
        Column.CHECKSUM,
        Column.HASH_ALGORITHM,
        Column.HASH_VALUE,
    }
)

Value = str | int | bool | datetime | None

#: For columns of a catalog as for values of an image; ONE_OF is no comparison with one value.
COMPARISONS: Mapping[Operator, Callable[[Any, Any], Any]] = {
    Operator.EQUAL: eq,
    Operator.NOT_EQUAL: ne,
    Operator.GREATER: gt,
    Operator.GREATER_OR_EQUAL: ge,
    Operator.LESS: lt,
    Operator.LESS_OR_EQUAL: le,
}


@dataclass(frozen=True, slots=True)
class Condition:
    """A column compared with a value, or with several for ONE_OF. An unset value matches NOT_EQUAL
    only.
    """

    column: Column
    operator: Operator
    value: Value | tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """One key of the order."""

    column: Column
    descending: bool = False


NEWEST_FIRST = (Order(Column.CREATED_AT, descending=True),)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuery:
    """A page of images. The defaults are those of the Image API."""

    caller: Caller | None = None  # None: the operator, for whom nothing is hidden
    conditions: tuple[Condition, ...] = ()
    visibility: Visibility | None = None
    #: The answer of the caller's project to images shared with it that are listed; None: any.
    member_status: MemberStatus | None = MemberStatus.ACCEPTED
    any_visibility: bool = False  # include community images of others
    tags: tuple[str, ...] = ()  # the image must have all of them
    properties: tuple[tuple[str, str], ...] = ()  # the image must have all of them
    order: tuple[Order, ...] = NEWEST_FIRST
    after: Image | None = None  # the last image of the previous page
    #: Or its id: the page is empty unless the image exists and ``is_plain_marker``.
    after_id: str | None = None
    limit: int = 25


@dataclass(frozen=True, slots=True)
class ImagePage:
    """The images of a list that fit into the limit of bytes."""

    images: Sequence[Image]
    is_cut: bool = False  # the next image did not fit


class TaskColumn(StrEnum):
    """Columns for sorting tasks; named as in the catalog."""

    ID = "id"
    TYPE = "type"
    STATUS = "status"
    OWNER = "owner"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskQuery:
    """A page of tasks. A field that is None is not a condition."""

    caller: Caller | None = None  # None: the operator, for whom nothing is hidden
    type: str | None = None
    status: TaskStatus | None = None
    owner: str | None = None
    image_id: str | None = None  # concerns this image, or created it
    sort_by: TaskColumn = TaskColumn.CREATED_AT
    descending: bool = True
    after: Task | None = None  # the last task of the previous page
    limit: int = 25


def matches(image: Image, query: ImageQuery) -> bool:
    """Whether the image belongs in the list, on whatever page."""
    return (
        _is_listed(image, query)
        and (query.visibility is None or image.visibility is query.visibility)
        and all(_holds(image, condition) for condition in query.conditions)
        and all(tag in image.tags for tag in query.tags)
        and all(
            property_text(image.properties.get(name)) == value for name, value in query.properties
        )
    )


def column_value(image: Image, column: Column) -> Value:
    """The image's value in a column."""
    holder = image.content if column in OF_CONTENT else image
    value: Value = None if holder is None else getattr(holder, column)
    return value


def total_order(order: Sequence[Order]) -> tuple[Order, ...]:
    """The order with the keys that make it total."""
    columns = [key.column for key in order]
    if Column.ID in columns:
        return tuple(order[: columns.index(Column.ID) + 1])
    ties = [column for column in (Column.CREATED_AT, Column.ID) if column not in columns]
    return (*order, *(Order(column, descending=order[-1].descending) for column in ties))


def sort_key(value: Value) -> tuple[bool, Any]:
    """The place of a value in an ascending order."""
    return (value is not None, value if value is not None else 0)


def _place(image: Image, column: Column) -> tuple[bool, Any]:
    return sort_key(column_value(image, column))


def is_plain_marker(image: Image, caller: Caller | None) -> bool:
    """Whether a page may begin behind the image by its id alone: the caller sees it, whatever
    members it has.
    """
    if caller is None:
        return True
    if image.draft or image.status in GONE:
        return False
    is_open = image.visibility in {Visibility.PUBLIC, Visibility.COMMUNITY}
    return caller.is_admin or is_open or image.owner == caller.project != ""


def behind_marker(query: ImageQuery, image: Image | None) -> ImageQuery | None:
    """The query with the image that its ``after_id`` names; None if the page is empty."""
    if image is None or not is_plain_marker(image, query.caller):
        return None
    return replace(query, after=image, after_id=None)


def page_of_images(images: Sequence[Image], query: ImageQuery) -> list[Image]:
    """The requested page of these images, without their members."""
    if query.after_id is not None:
        named = next((image for image in images if image.id == query.after_id), None)
        behind = behind_marker(query, named)
        return [] if behind is None else page_of_images(images, behind)
    found = [image for image in images if matches(image, query)]
    order = total_order(query.order)
    for key in reversed(order):
        found.sort(key=lambda image: _place(image, key.column), reverse=key.descending)
    if query.after is not None:
        last = query.after
        found = [image for image in found if _comes_after(image, last, order)]
    return [replace(image, members={}) for image in found[: query.limit]]


def listed_size(image: Image) -> int:
    """The approximate size of an image in a list, in bytes."""
    tags_bytes = sum(len(tag.encode()) for tag in image.tags)
    return LISTED_BASE_BYTES + tags_bytes + size_of_properties(image.properties)


def page_within(images: Iterable[Image], max_bytes: int) -> ImagePage:
    """The first images whose total size is within the limit, at least one."""
    taken: list[Image] = []
    total_bytes = 0
    for image in images:
        total_bytes += listed_size(image)
        if taken and total_bytes > max_bytes:
            return ImagePage(taken, is_cut=True)
        taken.append(image)
    return ImagePage(taken)


def _is_listed(image: Image, query: ImageQuery) -> bool:
    caller = query.caller
    if caller is None:
        return True
    if image.draft or image.status in GONE:
        return False
    is_own = image.owner == caller.project and caller.project != ""
    if is_own or image.visibility is Visibility.PUBLIC:
        return True
    if image.visibility is Visibility.COMMUNITY:
        return query.any_visibility or query.visibility is Visibility.COMMUNITY
    if caller.is_admin:
        return True
    answers = {query.member_status} if query.member_status else set(MemberStatus)
    return image.is_shared_with(caller.project) and image.members[caller.project].status in answers


def _holds(image: Image, condition: Condition) -> bool:
    value = column_value(image, condition.column)
    if isinstance(condition.value, tuple):
        return value in condition.value
    if value is None:
        return condition.operator is Operator.NOT_EQUAL
    return bool(COMPARISONS[condition.operator](value, condition.value))


def _comes_after(image: Image, last: Image, order: Sequence[Order]) -> bool:
    for key in order:
        mine, its = _place(image, key.column), _place(last, key.column)
        if mine != its:
            return (mine < its) if key.descending else (mine > its)
    return False
