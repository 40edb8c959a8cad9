"""Removes secrets from log events.

It is the second line of defence: no service logs a secret, and drivers replace the error texts of
libraries.
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
    """Replace values of fields with secret names, and secrets inside texts."""
    return {
        name: REDACTED if _SECRET_NAMES.search(name.lower()) else map_strings(value, redacted)
        for name, value in event.items()
    }


def redacted(text: str) -> str:
    """Return the text without passwords in URLs, signatures and credential headers."""
    for pattern in _SECRET_PATTERNS:
        text = pattern.sub(rf"\g<before>{REDACTED}", text)
    return text
