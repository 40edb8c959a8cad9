"""Makes untrusted texts safe for a log line: control characters are escaped, long texts cut.

Names, errors and headers come from users and libraries. An event remains one line, and its text
stays recognizable.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

MAX_TEXT_LENGTH = 4_000  # characters of one field
MAX_TRACEBACK_LENGTH = 32_000
MAX_ITEMS = 100  # of a list or mapping
TRACEBACK_FIELD = "exception"

_UNSAFE = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters, line ends among them
    "\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f"  # zero width, direction
    "\u2028\u2029"  # line ends of Unicode
    "\ufeff\ufff9-\ufffb"
    "\ud800-\udfff"  # lone surrogates, which cannot be encoded
    "\U000e0000-\U000e007f"  # invisible tags
    "]"
)


def visible(text: str) -> str:
    """Return the text with control and invisible characters escaped."""
    return _UNSAFE.sub(lambda found: _escaped(ord(found[0])), text)


def visible_lines(text: str) -> str:
    """Escape and indent each line of a text, so that none looks like a log line."""
    return "\n".join(f"    {visible(line)}" for line in text.split("\n"))


def shorten(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Cut long texts and lists; of a traceback, keep the end."""
    return {
        name: _cut_start(value) if name == TRACEBACK_FIELD else map_strings(value, _cut)
        for name, value in event.items()
    }


def escape(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Escape all texts of an event. JSON needs no such step."""
    return {
        name: visible_lines(value) if name == TRACEBACK_FIELD else map_strings(value, visible)
        for name, value in event.items()
    }


def map_strings(value: Any, change: Callable[[str], str]) -> Any:
    """Apply ``change`` to all texts of a value, in nested lists and mappings too."""
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
