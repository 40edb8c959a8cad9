"""Every event of the log is in its catalogue, with its level and its fields, and nothing more."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/imaged"
CATALOGUE = ROOT / "docs/reference/events.md"

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
MOST = 60


@dataclass(frozen=True)
class Told:
    """A place in the code that logs."""

    event: str
    level: str
    fields: frozenset[str]


@dataclass(frozen=True)
class Listed:
    """A row of the catalogue."""

    levels: frozenset[str]
    fields: frozenset[str]
    what_to_do: str


def told() -> Iterator[Told]:
    """Every call of the log in the code."""
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level)):
                    assert level in LEVELS, f"{path.name}: log.{level}"
                    (event,) = (argument.value for argument in node.args)  # type: ignore[attr-defined]
                    names = {keyword.arg for keyword in node.keywords if keyword.arg}
                    level = "error" if level == "exception" else level
                    yield Told(event, level, frozenset(names - {"exc_info"}))


def listed() -> dict[str, Listed]:
    """The rows of the catalogue."""
    rows: dict[str, Listed] = {}
    for line in CATALOGUE.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 4 and (name := re.fullmatch(r"`([a-z_]+\.[a-z_]+)`", cells[0])):
            assert name[1] not in rows, f"{name[1]} is there twice"
            rows[name[1]] = Listed(
                frozenset(cells[1].split(", ")),
                frozenset(re.findall(r"`(\w+)`", cells[2])),
                cells[3],
            )
    return rows


def test_events_are_listed_and_nothing_else() -> None:
    """An event without an explanation fails, and so does an explanation without an event."""
    assert {one.event for one in told()} == listed().keys()


def test_there_are_not_too_many() -> None:
    """An operator can learn them."""
    assert len(listed()) <= MOST


@pytest.mark.parametrize("event", sorted(listed()))
def test_the_row_tells_what_the_code_does(event: str) -> None:
    """All levels, all fields, and what to do."""
    row = listed()[event]
    places = [one for one in told() if one.event == event]

    assert {one.level for one in places} == row.levels
    assert frozenset[str]().union(*(one.fields for one in places)) <= row.fields
    assert row.what_to_do.endswith(".")
