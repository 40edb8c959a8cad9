"""Filters of lists of images: ``status=active``, ``name=in:a,b``, ``created_at=gt:2026-11-20``."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from imaged.core.errors import InvalidQuery
from imaged.core.lifecycle import Status
from imaged.core.query import Column, Condition, Operator, Value

MAX_CHOICES = 100  # of one in: list
MAX_NUMBER = 2**63 - 1  # the largest that all catalogs can compare
DIGITS = 19

_SECOND = timedelta(seconds=1)
_TEXTS = {
    "id": Column.ID,
    "name": Column.NAME,
    "status": Column.STATUS,
    "container_format": Column.CONTAINER_FORMAT,
    "disk_format": Column.DISK_FORMAT,
}
_EXACT = {
    "owner": Column.OWNER,
    "checksum": Column.CHECKSUM,
    "os_hash_algo": Column.HASH_ALGORITHM,
    "os_hash_value": Column.HASH_VALUE,
}
_NUMBERS = {
    "size": Column.SIZE,
    "virtual_size": Column.VIRTUAL_SIZE,
    "min_ram": Column.MIN_RAM,
    "min_disk": Column.MIN_DISK,
}
_FLAGS = {"protected": Column.PROTECTED, "os_hidden": Column.HIDDEN}
_MOMENTS = {"created_at": Column.CREATED_AT, "updated_at": Column.UPDATED_AT}
_MOMENT_OPERATORS = tuple(operator.value for operator in Operator if operator != Operator.ONE_OF)
_BOUNDS = [f"{name}_{end}" for name in _NUMBERS for end in ("min", "max")]


def read_conditions(name: str, value: str) -> Sequence[Condition] | None:
    """The conditions of a parameter, or None if it names no comparable attribute.

    Raises InvalidQuery.
    """
    read = _READERS.get(name)
    return None if read is None else read(name, value)


def read_number(name: str, text: str) -> int:
    """A non-negative number. Raises InvalidQuery."""
    if not (text.isascii() and text.isdigit()):
        raise InvalidQuery(name, f"must be a non-negative number, and is {text!r}")
    if len(text) > DIGITS or int(text) > MAX_NUMBER:
        raise InvalidQuery(name, f"may be {MAX_NUMBER} at most")
    return int(text)


def read_flag(name: str, text: str) -> bool:
    """``true`` or ``false``. Raises InvalidQuery."""
    if text.lower() not in {"true", "false"}:
        raise InvalidQuery(name, f"must be true or false, and is {text!r}")
    return text.lower() == "true"


def _text(name: str, value: str) -> Sequence[Condition]:
    """What is before the first colon may be part of the value, as in ``name=ubuntu:22.04``."""
    operator, colon, operand = value.partition(":")
    if not colon or operator not in set(Operator):
        return (Condition(_TEXTS[name], Operator.EQUAL, value),)
    match operator:
        case Operator.ONE_OF:
            return (Condition(_TEXTS[name], Operator.ONE_OF, _choices(name, operand)),)
        case Operator.EQUAL:
            return (Condition(_TEXTS[name], Operator.EQUAL, operand),)
        case _:
            raise InvalidQuery(
                name,
                f"has the operator {operator!r}, which compares numbers and times; possible: in, "
                f"eq. To find this very text, write {f'eq:{value}'!r}",
            )


def _choices(name: str, text: str) -> tuple[Value, ...]:
    """The values of a comma-separated list; those with commas are in double quotes."""
    try:
        (choices,) = csv.reader([text or '""'], strict=True, escapechar="\\")
    except (csv.Error, ValueError) as error:
        raise InvalidQuery(name, "has a list that is not quoted correctly") from error
    if len(choices) > MAX_CHOICES:
        raise InvalidQuery(name, f"may list at most {MAX_CHOICES} values")
    return tuple(choices)


def _exact(name: str, value: str) -> Sequence[Condition]:
    return (Condition(_EXACT[name], Operator.EQUAL, value),)


def _equal_number(name: str, value: str) -> Sequence[Condition]:
    return (Condition(_NUMBERS[name], Operator.EQUAL, read_number(name, value)),)


def _bound(name: str, value: str) -> Sequence[Condition]:
    base, _, end = name.rpartition("_")
    operator = Operator.GREATER_OR_EQUAL if end == "min" else Operator.LESS_OR_EQUAL
    return (Condition(_NUMBERS[base], operator, read_number(name, value)),)


def _is_flagged(name: str, value: str) -> Sequence[Condition]:
    return (Condition(_FLAGS[name], Operator.EQUAL, read_flag(name, value)),)


def _is_deleted(name: str, value: str) -> Sequence[Condition]:
    """No caller's list has deleted images, so ``true`` finds none."""
    if not read_flag(name, value):
        return ()
    return (Condition(Column.STATUS, Operator.EQUAL, Status.DELETED),)


def _moment(name: str, value: str) -> Sequence[Condition]:
    column, (operator, at) = _MOMENTS[name], _compared_moment(name, value)
    if at.microsecond:
        return (Condition(column, operator, at),)
    # Clients see times truncated to seconds, so a second means all moments in it.
    match operator:
        case Operator.EQUAL:
            return (
                Condition(column, Operator.GREATER_OR_EQUAL, at),
                Condition(column, Operator.LESS, _next_second(name, at)),
            )
        case Operator.GREATER:
            return (Condition(column, Operator.GREATER_OR_EQUAL, _next_second(name, at)),)
        case Operator.LESS_OR_EQUAL:
            return (Condition(column, Operator.LESS, _next_second(name, at)),)
        case _:
            return (Condition(column, operator, at),)


def _compared_moment(name: str, value: str) -> tuple[Operator, datetime]:
    at = _parsed_moment(value)
    if at is not None:
        return Operator.EQUAL, at
    prefix, _, rest = value.partition(":")
    if prefix not in _MOMENT_OPERATORS:
        known = ", ".join(_MOMENT_OPERATORS)
        raise InvalidQuery(name, f"must be a time as in ISO 8601, after one of {known} and ':'")
    at = _parsed_moment(rest)
    if at is None:
        raise InvalidQuery(name, f"must be a time as in ISO 8601, and is {rest!r}")
    return Operator(prefix), at


def _parsed_moment(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _next_second(name: str, at: datetime) -> datetime:
    try:
        return at + _SECOND
    except OverflowError:
        raise InvalidQuery(name, "is too far in the future") from None


_READERS: Mapping[str, Callable[[str, str], Sequence[Condition]]] = {
    **dict.fromkeys(_TEXTS, _text),
    **dict.fromkeys(_EXACT, _exact),
    **dict.fromkeys(_NUMBERS, _equal_number),
    **dict.fromkeys(_BOUNDS, _bound),
    **dict.fromkeys(_FLAGS, _is_flagged),
    "deleted": _is_deleted,
    **dict.fromkeys(_MOMENTS, _moment),
}
