"""What is wrong with a value, in words for operators; values themselves are never repeated."""

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

#: What the architecture foresees and this version does not have.
LATER = ("keystone", "journal")

#: Sections of tables, and the kinds of these.
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
    """The key that is meant, and what is wrong with its value."""
    keys = [key for key in details["loc"] if isinstance(key, str)]
    kind, given = details["type"], details["input"]
    model = SECTIONS[section]
    if section in SECTION_TYPES and len(keys) > 1:
        model = SECTION_TYPES[section][keys.pop(1)]  # pydantic names the kind behind the name
    path = (section, *keys)
    if kind.startswith("union_tag"):
        path = (*path, "type")
    if kind == "extra_forbidden":
        return path, unknown_key(path[-1], model.model_fields)
    if kind == "model_attributes_type":
        noun = {"exports": "destination"}.get(section, "store")
        return path, f"{unknown_key(path[-1], model.model_fields)} (each {noun} is a table)"
    say = _BY_TYPE.get(kind)
    sentence = say(details.get("ctx", {})) if say else details["msg"]
    if kind == "literal_error" and given in LATER:
        sentence += f"; this version of imaged does not have {given!r} yet"
    return path, sentence


def _listed(tags: str) -> str:
    return tags.replace(", ", " or ")


def unknown_key(name: str, known: Iterable[str]) -> str:
    """What is said of a name that is not known, with the nearest one that is."""
    if name in LATER:
        return "this version of imaged does not have it yet"
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.5)
    return "is not known" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
