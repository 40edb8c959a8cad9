"""What ``imaged show`` prints for people: attributes, members, and the history of an image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from imaged.cli.output import local_time
from imaged.units import age_in_words, approximate_size, pluralize


def member_row(member: Mapping[str, Any]) -> tuple[str, ...]:
    """A project that the image is shared with, its answer, and since when that is so."""
    since = member.get("updated_at") or ""
    return str(member.get("member_id")), str(member.get("status")), _text("updated_at", since)


def history_title(history: Mapping[str, Any]) -> str:
    """How many changes are shown, and how many are damaged in the catalog."""
    title = pluralize(len(history["history"]), "change")
    unreadable = history.get("unreadable_entries")
    if not unreadable:
        return title
    return f"{title}; {unreadable} more cannot be read: the log of the service says why"


def history_row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """One change: when, what, by whom, from where, and its details."""
    details = entry.get("details")
    if not isinstance(details, dict):
        details = {}
    return (
        _text("at", entry.get("at") or ""),
        str(entry.get("action") or ""),
        str(entry.get("user_id") or ""),
        str(entry.get("project_id") or ""),
        str(entry.get("peer") or ""),
        ", ".join(_detail(name, value) for name, value in details.items()),
    )


def _detail(name: str, value: Any) -> str:
    """A detail as people say it: ``size 2.0 GiB``, ``scrub due 2026-11-27 10:00 CET``."""
    match name, value:
        case "mib_per_s", int() | float():
            return f"{value} MiB/s"
        case "duration_s", int() | float():
            return f"{value} s"
        case "attributes", _:
            return _text(name, value)
        case _, int() if name.endswith("_bytes"):
            return f"{name.removesuffix('_bytes')} {approximate_size(value)}"
    words = name.removesuffix("_at").replace("_", " ")
    return f"{words} {_text(name, value)}"


def attributes(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values that are set: id, name and status, then the others by name."""
    first = ("id", "name", "status")
    for name in (*first, *sorted(facts.keys() - set(first))):
        value = facts.get(name)
        if value is None or value in ([], ""):
            continue
        at = instant(value) if name.endswith("_at") else None
        yield name, _text(name, value) if at is None else _local_time_and_age(at)


def _text(name: str, value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if name in {"size", "virtual_size"} and isinstance(value, int):
        return f"{approximate_size(value)} ({value} bytes)"
    at = instant(value) if name == "at" or name.endswith("_at") else None
    if at is not None:
        return local_time(at)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _local_time_and_age(at: datetime) -> str:
    age = datetime.now(UTC) - at
    return f"{local_time(at)} ({age_in_words(age)} ago)" if age > timedelta(0) else local_time(at)


def instant(value: object) -> datetime | None:
    """An instant of the API; None if it is something else."""
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None
