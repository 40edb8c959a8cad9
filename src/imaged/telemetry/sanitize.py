"""Texts of others, made fit for a line: nothing that a terminal would obey, nothing too long.

Names, errors and headers come from users and libraries. A line that holds one stays one line, and
says what the text is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

MAX_TEXT_LENGTH = 4_000  # characters of one field
MAX_TRACEBACK_LENGTH = 32_000
MAX_ITEMS = 100  # of a list or table
TRACEBACK_FIELD = "exception"

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, line ends among them
    "\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # zero width, direction
    "\u2028\u2029"  # line ends of Unicode
    "\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"  # halves of characters, which no encoding has
    "\U000e0000-\U000e007f"  # tags, which nobody sees
    "]"
)


def visible(text: str) -> str:
    """The text, with escapes for what would not be seen but obeyed."""
    return _UNSAFE.sub(lambda found: _escaped(ord(found[0])), text)


def visible_lines(text: str) -> str:
    """A text of several lines, each indented, so that none of them looks like a line of the log."""
    return "\n".join(f"    {visible(line)}" for line in text.split("\n"))


def shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut what is too long for a line. Of a traceback the end says most."""
    return {
        name: _cut_start(value) if name == TRACEBACK_FIELD else map_strings(value, _cut)
        for name, value in event.items()
    }


def escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Make everything visible. JSON does this by itself."""
    return {
        name: visible_lines(value) if name == TRACEBACK_FIELD else map_strings(value, visible)
        for name, value in event.items()
    }


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Change the texts of a value, however deep they are in lists and tables."""
    match value:
        case str():
            return change(value)
        case dict():
            items = list(value.items())[:MAX_ITEMS]
            return {change(str(name)): map_strings(item, change) for name, item in items}
        case list() | tuple() | set() | frozenset():
            return [map_strings(item, change) for item in list(value)[:MAX_ITEMS]]
        case None | bool() | int() | float():
            return value
        case _:
            return change(str(value))


def _escaped(code: int) -> str:
    return f"\\U{code:08x}" if code >> 16 else f"\\u{code:04x}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"


def _cut_start(text: str) -> str:
    return text if len(text) <= MAX_TRACEBACK_LENGTH else f"…{text[-MAX_TRACEBACK_LENGTH:]}"
