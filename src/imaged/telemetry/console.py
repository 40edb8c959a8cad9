"""Log lines for people: at most 100 columns wide, with what happened first.

    Nov 20 12:00:05 info     image.upload_started image_id=4f0c91a2 from_status=queued
        to_status=saving user_id=alice

Local time, shortened ids, then the fields of the event, and of the context what still fits. The
other formats have every field whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from structlog.dev import CYAN, RESET_ALL, ConsoleRenderer

from imaged.core.attributes import UUID_PATTERN
from imaged.telemetry.sanitize import TRACEBACK_FIELD

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

WIDTH = 100  # columns
INDENT = "    "  # of further lines, so that none looks like the beginning of an event
LEVEL_WIDTH, EVENT_WIDTH = 8, 20
SHORT_ID_LENGTH = 8

#: Fields that say what the event is about; they come first.
SUBJECT_FIELDS = ("image_id", "task_id")
#: Fields that are the same in every event of a request or of a claim; they come last.
CONTEXT_FIELDS = (
    "user_id",
    "project_id",
    "peer",
    "request_id",
    "global_request_id",
    "claim_id",
)

_ID = re.compile(rf"(?P<prefix>req-)?(?P<id>{UUID_PATTERN})")
_NAME = re.compile(r"(?<=\s)\w+(?==)")


class ConsoleFormat:
    """A processor that turns an event into its lines. ``colors``: for a terminal."""

    def __init__(self, *, colors: bool) -> None:
        self._level_colors = ConsoleRenderer.get_default_level_styles() if colors else None

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        """Return the lines, and below them the traceback."""
        facts = dict(event)
        head = _head(facts)
        traceback, level = facts.pop(TRACEBACK_FIELD, None), facts.pop("level", "")
        for name in ("timestamp", "event"):
            facts.pop(name, None)
        lines = fold(head, facts)
        if self._level_colors is not None:
            first = _colored(lines[0].removeprefix(head))
            color = self._level_colors.get(level, "")
            lines = [f"{color}{head}{RESET_ALL}{first}", *map(_colored, lines[1:])]
        return "\n".join([*lines, traceback] if traceback else lines)


def fold(head: str, facts: dict[str, Any]) -> list[str]:
    """Return the lines of an event that begins with ``head``."""
    subject = [name for name in SUBJECT_FIELDS if name in facts]
    context = [name for name in CONTEXT_FIELDS if name in facts]
    details = [name for name in facts if name not in {*subject, *context}]
    lines = [head]
    for name in (*subject, *details):
        for word in _words(f"{name}={_value(name, facts[name])}"):
            if len(lines[-1]) + 1 + len(word) <= WIDTH:
                lines[-1] += f" {word}"
            else:
                lines.append(INDENT + word)
    for name in context:
        field = f" {name}={_value(name, facts[name])}"
        if len(lines[-1]) + len(field) <= WIDTH:
            lines[-1] += field
    return lines


def _head(facts: dict[str, Any]) -> str:
    at = datetime.fromisoformat(facts["timestamp"]).astimezone()
    level, event = facts.get("level", ""), str(facts["event"])
    return f"{at:%b %d %H:%M:%S} {level:{LEVEL_WIDTH}} {event:{EVENT_WIDTH}}"


def _value(name: str, value: Any) -> str:
    text = str(value)
    if name.endswith("_id") and (found := _ID.fullmatch(text)):
        return (found["prefix"] or "") + found["id"][:SHORT_ID_LENGTH]
    is_sentence = isinstance(value, str) and (not text or " " in text)
    return f'"{text}"' if is_sentence else text


def _words(text: str) -> Iterator[str]:
    """The words of a text; one that is longer than a line in parts."""
    longest = WIDTH - len(INDENT)
    for word in text.split(" "):
        yield word[:longest]
        yield from (word[start : start + longest] for start in range(longest, len(word), longest))


def _colored(fields: str) -> str:
    return _NAME.sub(lambda found: f"{CYAN}{found[0]}{RESET_ALL}", fields)
