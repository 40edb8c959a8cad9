"""Problems of a configuration: all are reported at once, and none contains a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from imaged.config.model import SECTIONS, TABLE_TYPES, KeyPath


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake to correct. Values are never shown, because they may be secrets."""

    origin: str  # a file, or "environment"
    key: str | None  # section.key, or the variable
    what: str

    def __str__(self) -> str:
        where = self.origin if self.key is None else f"{self.origin}:{self.key}"
        return f"{where}: {self.what}"


class ConfigInvalid(Exception):
    """The configuration cannot be used; ``problems`` has all reasons."""

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
    "missing": lambda _: "is missing",
    "model_type": lambda _: "must be a table",
    "string_type": lambda _: "must be a text",
    "too_short": lambda _: "must not be empty",
    "tuple_type": lambda _: "must be a list",
    "union_tag_invalid": lambda given: f"must be {_listed(given['expected_tags'])}",
    "union_tag_not_found": lambda _: "is missing",
    "value_error": lambda raised: str(raised["error"]),
}


def describe_error(section: str, details: ErrorDetails) -> tuple[KeyPath, str]:
    """The path of the setting, and what is wrong with its value."""
    keys = [key for key in details["loc"] if isinstance(key, str)]
    kind = details["type"]
    model = SECTIONS[section]
    if section in TABLE_TYPES and len(keys) > 1:
        model = TABLE_TYPES[section][keys.pop(1)]  # pydantic puts the type after the name
    path = (section, *keys)
    if kind.startswith("union_tag"):
        path = (*path, "type")
    if kind == "extra_forbidden":
        return path, unknown_key(path[-1], model.model_fields)
    if kind == "model_attributes_type":
        noun = {"exports": "destination"}.get(section, "store")
        return path, f"{unknown_key(path[-1], model.model_fields)} (each {noun} is a table)"
    say = _BY_TYPE.get(kind)
    return path, say(details.get("ctx", {})) if say else details["msg"]


def unknown_key(name: str, known: Iterable[str]) -> str:
    """The error for an unknown name, with the nearest known one."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return "is not known" + (f"; did you mean {nearest[0]!r}?" if nearest else "")


def _listed(tags: str) -> str:
    return tags.replace(", ", " or ")
