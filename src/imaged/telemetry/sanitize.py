"""Makes events safe to write: secrets are replaced, long texts cut, control characters escaped.

Names, errors and headers come from users and libraries. An event remains one line, and its text
stays recognizable. Replacing secrets is the second line of defence: no service logs a secret, and
drivers replace the error texts of libraries.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

REDACTED = "***"
MAX_TEXT_LENGTH = 4_000  # characters of one field
MAX_TRACEBACK_LENGTH = 32_000
MAX_ITEMS = 100  # of a list or mapping
TRACEBACK_FIELD = "exception"

_SECRET_NAMES = re.compile(
    r"(^|[_-])(token|secret|password|passwd|credential|authorization|cookie|access_key)s?$"
)
_SECRET_PATTERNS = (
    re.compile(
        r"(?P<before>\b[a-z][a-z0-9+.-]{1,20}://[^\s/@:'\"]{0,200}:)[^\s'\"]{1,500}(?=@)",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<before>\bhttps?://)[^\s/@'\"]{1,500}(?=@)", re.IGNORECASE),
    re.compile(
        r"(?P<before>\b(?:x-amz-(?:signature|credential|security-token)|signature|awsaccesskeyid|(?:ssl)?password)=)"
        r"[^\s&'\"]{1,2000}",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<before>\b(?:x-auth-token|x-service-token|authorization|cookie)['\"]?\s{0,3}[:=]\s{0,3})"
        r"[^\r\n]{1,2000}",
        re.IGNORECASE,
    ),
    re.compile(r"(?P<before>\bbearer\s{1,3})[^\s'\"]{1,2000}", re.IGNORECASE),
)

#: Before each of these secrets there is one of these characters. Most values of fields have none.
_BEFORE_SECRET = re.compile(r"[:=\s]")

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


def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace values of fields with secret names, and secrets inside texts."""
    return {
        name: REDACTED if _is_secret_name(name) else map_strings(value, redacted)
        for name, value in event.items()
    }


@lru_cache(maxsize=1024)
def _is_secret_name(name: str) -> bool:
    return _SECRET_NAMES.search(name.lower()) is not None


def redacted(text: str) -> str:
    """Return the text without passwords in URLs, signatures and credential headers."""
    if _BEFORE_SECRET.search(text) is None:
        return text
    for pattern in _SECRET_PATTERNS:
        text = pattern.sub(rf"\g<before>{REDACTED}", text)
    return text


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
        case None | bool() | int() | float():
            return value
        case dict():
            items = list(value.items())[:MAX_ITEMS]
            return {change(str(name)): map_strings(item, change) for name, item in items}
        case list() | tuple() | set() | frozenset():
            return [map_strings(item, change) for item in list(value)[:MAX_ITEMS]]
        case _:
            return change(str(value))


def _escaped(code: int) -> str:
    return f"\\U{code:08x}" if code >> 16 else f"\\u{code:04x}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else f"{text[:MAX_TEXT_LENGTH]}…"


def _cut_start(text: str) -> str:
    return text if len(text) <= MAX_TRACEBACK_LENGTH else f"…{text[-MAX_TRACEBACK_LENGTH:]}"
