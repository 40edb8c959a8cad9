"""The catalogue of the log's events, as operators read it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

EVENTS_PAGE = Path(__file__).parents[2] / "docs/reference/events.md"

#: What every line begins with.
LEADING_FIELDS = {"timestamp", "level", "event"}


@dataclass(frozen=True)
class EventRow:
    """A row of the catalogue."""

    levels: frozenset[str]
    fields: frozenset[str]
    what_to_do: str


def _rows(cells: int) -> Iterator[list[str]]:
    for line in EVENTS_PAGE.read_text(encoding="utf-8").splitlines():
        row = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(row) == cells:
            yield row


@cache
def catalogue() -> Mapping[str, EventRow]:
    """The events, by name."""
    rows: dict[str, EventRow] = {}
    for event, levels, fields, what_to_do in _rows(4):
        name = event.strip("`")
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", name), name
        assert name not in rows, f"{name} is there twice"
        names = frozenset(re.findall(r"`(\w+)`", fields))
        rows[name] = EventRow(frozenset(levels.split(", ")), names, what_to_do)
    return rows


#: The fields that any event may have, and what they are.
COMMON: Mapping[str, str] = {field.strip("`"): meaning for field, meaning in _rows(2)}


def undocumented(line: Mapping[str, Any]) -> list[str]:
    """What a line of the log has that its catalogue does not know."""
    row = catalogue().get(line["event"])
    if row is None:
        return [f"{line['event']} is not listed"]
    found = []
    if line["level"] not in row.levels:
        found.append(f"{line['event']} is listed as {set(row.levels)}, not as {line['level']}")
    if unknown := line.keys() - row.fields - COMMON.keys() - LEADING_FIELDS:
        found.append(f"{line['event']} is listed without {unknown}")
    if not row.what_to_do.endswith("."):
        found.append(f"{line['event']} does not say what to do")
    return found
