"""The lines of a TOML file that set its keys, for messages: ``tomllib`` does not tell them."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")
_CACHED_FILES = 8


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line, from 1, of a file without mistakes, that sets the key, or the longest part of it
    that is there: ``("stores", "local")`` if ``stores.local.bucket`` is missing. None if not even
    its section is.
    """
    lines = _lines_of(text)
    parts = (tuple(path[:length]) for length in range(len(path), 0, -1))
    return next((lines[part] for part in parts if part in lines), None)


def line_of_mistake(text: str, error: tomllib.TOMLDecodeError) -> int:
    """The line, from 1, where the text stops being TOML."""
    found = _AT_LINE.search(str(error))
    return int(found[1]) if found else max(1, len(text.splitlines()))


@lru_cache(_CACHED_FILES)
def _lines_of(text: str) -> Mapping[tuple[str, ...], int]:
    """The line of the first statement that sets each key, or something in it."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for line, statement, values in _statements(text):
        paths = list(_paths(values))
        if statement.lstrip().startswith("["):
            table, paths = paths[-1], [()]
        for path in paths:
            whole = (*table, *path)
            for length in range(1, len(whole) + 1):
                lines.setdefault(whole[:length], line)
    return lines


def _statements(text: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Each header and each assignment, with its first line, and its values without its table. The
    beginning of one that goes over several lines is no TOML.
    """
    first, statement = 1, ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        statement += f"{line}\n"
        try:
            values = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue
        if values:
            yield first, statement, values
        first, statement = number + 1, ""


def _paths(values: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The path of each value, and of each table without values."""
    for key, value in values.items():
        inner = list(_paths(value)) if isinstance(value, Mapping) else []
        yield from ((key, *path) for path in inner or [()])
