"""The value of a setting in a message, unless it may be a secret, also one in a wrong place."""

from __future__ import annotations

import json
import re
from typing import Any

from imaged.config.model import KeyPath, field_at_path
from imaged.config.sections import is_secret
from imaged.telemetry.sanitize import visible

MAX_SHOWN_CHARACTERS = 60

#: Their values may have passwords, in parts that are left out.
_ADDRESSES = {"url", "endpoint", "public_url"}
_PARAMETERS = re.compile(r"[?=\s]")
_USER = re.compile(r"^(?P<scheme>\w*://)?.*@")


def shown_value(path: KeyPath, value: Any) -> str | None:
    """The value as TOML has it, shortened. Only its kind where it may be a secret: in tables, keys,
    and the names of files, whose place a key may take; None for a text there.
    """
    field = field_at_path(path)
    if field is None or isinstance(value, dict):
        return _kind(value)
    if is_secret(field) or path[-1].endswith("_file"):
        return None if isinstance(value, str) else _kind(value)
    if path[-1] in _ADDRESSES:
        if not isinstance(value, str):
            return _kind(value)
        value = _PARAMETERS.split(_USER.sub(r"\g<scheme>***@", value))[0]
    text = visible(json.dumps(value, ensure_ascii=False, default=str))
    return text if len(text) <= MAX_SHOWN_CHARACTERS else f"{text[:MAX_SHOWN_CHARACTERS]}…"


def _kind(value: Any) -> str:
    match value:
        case dict():
            return "a table"
        case str():
            return "a text"
        case bool():
            return "true or false"
        case list():
            return "a list"
        case int() | float():
            return "a number"
        case _:
            return f"a {type(value).__name__}"
