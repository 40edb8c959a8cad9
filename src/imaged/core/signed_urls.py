"""URLs whose query is a credential, such as presigned URLs of object stores.

The query is kept in a task's input as long as the task needs it, shown only to the project that
sent it, and removed when the task ends.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

QUERY_MASK = "***"

_WITH_QUERY = re.compile(r"(?P<before>https?://[^?#]*)\?.+", re.IGNORECASE | re.DOTALL)


def without_queries(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields, at any depth, with a mask for the query of each value that is a URL."""
    return {name: _masked(value) for name, value in fields.items()}


def _masked(value: object) -> object:
    match value:
        case str():
            found = _WITH_QUERY.fullmatch(value.strip())
            return f"{found['before']}?{QUERY_MASK}" if found else value
        case Mapping():
            return without_queries(value)
        case list():
            return [_masked(item) for item in value]
        case _:
            return value
