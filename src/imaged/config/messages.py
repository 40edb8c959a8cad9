"""Texts of configuration errors; they never contain a value."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic_core import ErrorDetails

from imaged.config.exports import EXPORT_TYPES
from imaged.config.layers import KeyPath
from imaged.config.model import SECTIONS
from imaged.config.sections import Section
from imaged.config.stores import STORE_TYPES

#: Sections with a table for each name, and the types of these tables.
SECTION_TYPES: Mapping[str, Mapping[str, type[Section]]] = {
    "stores": STORE_TYPES,
    "exports": EXPORT_TYPES,
}

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
    if section in SECTION_TYPES and len(keys) > 1:
        model = SECTION_TYPES[section][keys.pop(1)]  # pydantic puts the type after the name
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


def _listed(tags: str) -> str:
    return tags.replace(", ", " or ")


def unknown_key(name: str, known: Iterable[str]) -> str:
    """The error for an unknown name, with the nearest known one."""
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return "is not known" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
