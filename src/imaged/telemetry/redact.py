"""Secrets stay out of the log, should one ever come so far.

Nothing here is relied upon: no service logs a secret, and what errors of libraries say is replaced
where they are caught. This is the second lock.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from imaged.telemetry.sanitize import map_strings

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

REDACTED = "***"

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
        r"(?P<before>\b(?:x-amz-(?:signature|credential|security-token)|signature|awsaccesskeyid)=)"
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


def redact_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Drop the values of fields that are named like secrets, and what looks like one in texts."""
    return {
        name: REDACTED if _SECRET_NAMES.search(name.lower()) else map_strings(value, redacted)
        for name, value in event.items()
    }


def redacted(text: str) -> str:
    """The text without passwords of URLs, signatures of links and contents of headers."""
    for pattern in _SECRET_PATTERNS:
        text = pattern.sub(rf"\g<before>{REDACTED}", text)
    return text
