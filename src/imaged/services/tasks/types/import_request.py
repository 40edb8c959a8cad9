"""Parses the body of an import call: a method with its arguments, and a store."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from imaged.core.errors import InvalidRequest
from imaged.ports.store import Stores

IMPORT_FIELDS = ("method", "stores", "all_stores", "all_stores_must_succeed")


@dataclass(frozen=True, slots=True)
class ImportRequest:
    """The parsed body of an import call."""

    method: str
    arguments: Mapping[str, Any]  # of the method, including its name
    store: str | None = None  # None: the default store


def read_request(body: object, methods: Collection[str], stores: Stores) -> ImportRequest:
    """Read the body of an import call. Raises InvalidRequest, UnknownStore."""
    if not isinstance(body, dict):
        raise InvalidRequest("The body must be a JSON object with the import's 'method'.")
    for name in body:
        if name not in IMPORT_FIELDS:
            raise InvalidRequest(f"The field {name!r} of an import is not known.")
    arguments = _method(body, methods)
    return ImportRequest(arguments["name"], arguments, _store(body, stores))


def _method(body: Mapping[str, Any], methods: Collection[str]) -> Mapping[str, Any]:
    method = body.get("method")
    if method is None:
        raise InvalidRequest("The import's 'method' is missing.")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise InvalidRequest("The import's 'method' must be a JSON object with a 'name'.")
    if method["name"] not in methods:
        known = ", ".join(methods)
        raise InvalidRequest(f"There is no import method {method['name']!r}; possible: {known}.")
    return method


def _store(body: Mapping[str, Any], stores: Stores) -> str | None:
    for name in IMPORT_FIELDS[2:]:
        if not isinstance(body.get(name, False), bool):
            raise InvalidRequest(f"The import's {name!r} must be true or false.")
    named = body.get("stores") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise InvalidRequest("The import's 'stores' must be an array of names.")
    if body.get("all_stores"):
        if named:
            raise InvalidRequest("An import has 'stores' or 'all_stores', not both.")
        named = list(stores.by_name)
    if len(named) > 1:
        raise InvalidRequest("An import writes to one store; name one in 'stores'.")
    return stores.pick(named[0]).name if named else None
