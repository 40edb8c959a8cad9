"""The line of a TOML file that sets a key, for messages: ``tomllib`` does not tell it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

_AT_LINE = re.compile(r"\(at line (\d+), column \d+\)$")


def line_of(text: str, path: Sequence[str]) -> int | None:
    """The line, from 1, of a file without mistakes, that sets the key, or the longest part of it
    that is there: ``("stores", "local")`` if ``stores.local.bucket`` is missing. None if not even
    its section is.
    """
    lines = text.splitlines(keepends=True)
    while path:
        if _holds(text, path):
            return _first_line(lines, path)
        path = path[:-1]
    return None


def line_of_mistake(text: str, error: tomllib.TOMLDecodeError) -> int:
    """The line, from 1, where the text stops being TOML."""
    found = _AT_LINE.search(str(error))
    return int(found[1]) if found else max(1, len(text.splitlines()))


def _first_line(lines: Sequence[str], path: Sequence[str]) -> int:
    """The beginning of the statement that sets the key. Only whole statements can be parsed: the
    shortest beginning of the file that sets it ends with this one.
    """
    without, with_it = 0, len(lines)  # numbers of lines that can be parsed
    while True:
        middle = (without + with_it) // 2
        while middle > without and not _parses(lines[:middle]):
            middle -= 1
        if middle == without:
            middle = next(
                (n for n in range((without + with_it) // 2 + 1, with_it) if _parses(lines[:n])),
                with_it,
            )
        if middle == with_it:
            return without + 1
        if _holds("".join(lines[:middle]), path):
            with_it = middle
        else:
            without = middle


def _parses(lines: Sequence[str]) -> bool:
    try:
        tomllib.loads("".join(lines))
    except tomllib.TOMLDecodeError:
        return False
    return True


def _holds(text: str, path: Sequence[str]) -> bool:
    values: Any = tomllib.loads(text)
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True
