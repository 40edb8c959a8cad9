"""Problems of a configuration: all are reported at once, each with its place and its value.

A value that may be a secret, also one in a wrong place, is not shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.metadata import version
from typing import Any

from pydantic_core import ErrorDetails

from imaged.config.model import SECTIONS, TABLE_TYPES, TABLES, KeyPath, field_at_path
from imaged.config.sections import is_secret
from imaged.config.types import WrongSetting
from imaged.telemetry.sanitize import visible

MAX_SHOWN_CHARACTERS = 60

#: Their values may have passwords, in parts that are left out.
_ADDRESSES = {"url", "endpoint", "public_url"}
_PARAMETERS = re.compile(r"[?=\s]")
_USER = re.compile(r"^(?P<scheme>\w*://)?.*@")


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake to correct."""

    origin: str  # a file, or "environment"
    key: str | None  # section.key, or the variable
    what: str
    line: int | None = None  # of the file, from 1
    value: str | None = None  # for people; None if there is none, or it may be a secret

    def __str__(self) -> str:
        place = self.origin if self.line is None else f"{self.origin}:{self.line}"
        where = place if self.key is None else f"{place}: {self.key}"
        shown = "" if self.value is None else f"; here it is {self.value}"
        return f"{where}: {self.what}{shown}"


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a setting. ``value``: for people, as in ``Problem``."""

    path: KeyPath
    what: str
    value: str | None = None


class ConfigInvalid(Exception):
    """The configuration cannot be used; ``problems`` has all reasons."""

    needs_correction = True

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


_BY_TYPE: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "bool_type": lambda _: "must be true or false",
    "float_type": lambda _: "must be a number",
    "greater_than_equal": lambda limit: f"must be {limit['ge']:g} or more",
    "int_type": lambda _: "must be a whole number",
    "less_than_equal": lambda limit: f"must be {limit['le']:g} or less",
    "literal_error": lambda allowed: f"must be {allowed['expected']}",
    "missing": lambda _: "is missing: add it",
    "model_type": lambda _: "must be a table",
    "string_type": lambda _: "must be a text",
    "too_short": lambda _: "must not be empty",
    "tuple_type": lambda _: "must be a list",
    "union_tag_invalid": lambda given: f"must be {_listed(given['expected_tags'])}",
    "union_tag_not_found": lambda _: "is missing: add it",
    "value_error": lambda raised: str(raised["error"]),
}


#: Errors about what is not there, or about names.
_WITHOUT_VALUE = {"missing", "union_tag_not_found"}


def describe_error(section: str, details: ErrorDetails, values: Any) -> Mistake:
    """The setting, and what is wrong with its value. ``values``: those of its section."""
    keys = [key for key in details["loc"] if isinstance(key, str)]
    kind = details["type"]
    model = SECTIONS[section]
    if section in TABLE_TYPES and len(keys) > 1:
        model = TABLE_TYPES[section][keys.pop(1)]  # pydantic puts the type after the name
    path = (section, *keys)
    model = TABLES.get(path[:-1], model)
    if kind.startswith("union_tag"):
        path = (*path, "type")
    if kind == "extra_forbidden":
        return Mistake(path, unknown_key("setting", path[-1], model.model_fields))
    if kind == "model_attributes_type":
        noun = {"exports": "destination"}.get(section, "store")
        unknown = unknown_key("setting", path[-1], model.model_fields)
        return Mistake(path, f"{unknown} (each {noun} is a table)")
    context = details.get("ctx", {})
    if isinstance(wrong := context.get("error"), WrongSetting):
        path = (*path, wrong.key)
        return Mistake(path, wrong.why, _value_at(path, values))
    say = _BY_TYPE.get(kind)
    what = say(context) if say else details["msg"]
    if kind in _WITHOUT_VALUE or (kind == "value_error" and isinstance(details["input"], dict)):
        return Mistake(path, what)
    return Mistake(path, what, shown_value(path, details["input"]))


def unknown_key(noun: str, name: str, known: Iterable[str]) -> str:
    """The error for an unknown name, with the nearest known one."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.6)
    remedy = (
        f"did you mean {nearest[0]!r}?" if nearest else "remove it, or install a version that does"
    )
    return f"imaged {version('imaged')} does not know this {noun}; {remedy}"


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


def _value_at(path: KeyPath, values: Any) -> str | None:
    for key in path[1:]:
        if not isinstance(values, Mapping) or key not in values:
            return None
        values = values[key]
    return None if isinstance(values, Mapping) else shown_value(path, values)


def _listed(tags: str) -> str:
    return tags.replace(", ", " or ")
