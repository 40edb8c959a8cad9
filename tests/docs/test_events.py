"""Every event of the log is in its catalogue, with its levels and its fields, and nothing more."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from imaged.core.history import DETAILS
from support.event_catalogue import COMMON, catalogue

SOURCE = Path(__file__).parents[2] / "src/imaged"

LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
BINDINGS = {"bind_contextvars", "bound_contextvars"}
MOST = 100


@dataclass(frozen=True)
class Told:
    """A place in the code that logs."""

    event: str
    level: str
    fields: frozenset[str]


@cache
def nodes() -> Sequence[tuple[str, ast.AST]]:
    """All the code."""
    return [
        (str(path.relative_to(SOURCE)), node)
        for path in sorted(SOURCE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
    ]


@cache
def told() -> Sequence[Told]:
    """Every call of the log in the code."""
    return list(calls_of_the_log())


def calls_of_the_log() -> Iterator[Told]:
    """One after the other. Events and fields are spelled where they are told; what happened to
    images, and with which details, is the core's table.
    """
    for place, node in nodes():
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name("log"), attr=level)):
                assert level in LEVELS, f"{place}: log.{level}"
                names = {keyword.arg for keyword in node.keywords}
                fields = frozenset(name for name in names if name is not None)
                level = "error" if level == "exception" else level
                match node.args:
                    case [ast.Constant(value=str() as event)]:
                        assert fields == names, f"{place}: {event} has fields that cannot be read"
                        yield Told(event, level, fields - {"exc_info"} - COMMON.keys())
                    case [ast.Attribute(value=ast.Name("action"), attr="event")]:
                        assert place == "catalogs/change_log.py"
                        for action, details in DETAILS.items():
                            told = fields - COMMON.keys() | set(details)
                            yield Told(action.event, level, told)
                    case _:
                        pytest.fail(f"{place}: line {node.lineno} has no event that can be read")


def bound() -> set[str]:
    """The fields that are bound somewhere."""
    names: set[str] = set()
    for place, node in nodes():
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in BINDINGS:
                found = {keyword.arg for keyword in node.keywords}
                assert None not in found, f"{place}: {name} binds what cannot be read"
                names |= {name for name in found if name is not None}
    return names


def test_events_are_listed_and_nothing_else() -> None:
    """An event without an explanation fails, and so does an explanation without an event."""
    assert {one.event for one in told()} == catalogue().keys()


def test_there_are_not_too_many() -> None:
    """An operator can learn them."""
    assert len(catalogue()) <= MOST


@pytest.mark.parametrize("event", sorted(catalogue()))
def test_the_row_tells_what_the_code_does(event: str) -> None:
    """Its levels, its fields, no more of them, and what to do."""
    row = catalogue()[event]
    places = [one for one in told() if one.event == event]

    assert {one.level for one in places} == row.levels
    assert frozenset[str]().union(*(one.fields for one in places)) == row.fields
    assert row.what_to_do.endswith(".")
    assert row.what_to_do != "Nothing." or row.levels <= {"debug", "info"}


def test_the_fields_of_any_event_are_bound() -> None:
    """Once, where work comes in; and each of them is explained."""
    assert bound() == COMMON.keys() - {"exception"}
    assert all(text.endswith(".") for text in COMMON.values())


def test_the_log_is_only_called() -> None:
    """It is not passed on, so the calls found here are all."""
    names = sum(
        isinstance(node, ast.Name) and node.id == "log" and isinstance(node.ctx, ast.Load)
        for _, node in nodes()
    )
    assert names == len(told()) - len(DETAILS) + 1  # one call tells what happened to images
