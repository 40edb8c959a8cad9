"""URLs whose query lets everyone fetch who has it, such as presigned ones of object stores.

The query stays with a task's input for as long as the task needs it, is shown to the project that
sent it alone, and goes with the task's end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

QUERY_MASK = "***"

_WITH_QUERY = re.compile(r"(?P<before>https?://[^?#]*)\?.+", re.IGNORECASE | re.DOTALL)


def without_queries(fields: Mapping[str, object]) -> dict[str, object]:
    """The fields, however deep, with a mask for the query of each value that is a URL."""
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
