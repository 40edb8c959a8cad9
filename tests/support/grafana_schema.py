"""The schema of Grafana's dashboards, as types of its own SDK have it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard, FieldConfig, Panel
from pydantic import ConfigDict, TypeAdapter, ValidationError

UNITS = {None, *(value for value in vars(units).values() if isinstance(value, str))}


def schema_errors(dashboard: Any) -> list[str]:
    """What the schema does not allow in a dashboard, each with its path.

    The SDK ignores what it does not know: what is gone after reading and writing is unknown. It
    does not look at values either, so each is compared with the type of its field.
    """
    register_default_plugins()
    model = Dashboard.from_json(dashboard)
    written = json.loads(JSONEncoder().encode(model))
    return [*_unknown(dashboard, written, "$"), *_wrong_values(model, Dashboard, "$")]


def _unknown(given: Any, written: Any, path: str) -> Iterator[str]:
    match given, written:
        case dict(), dict():
            for name, value in given.items():
                if name in written:
                    yield from _unknown(value, written[name], f"{path}.{name}")
                else:
                    yield f"{path}.{name} is unknown"
        case list(), list() if len(given) == len(written):
            for number, value in enumerate(given):
                yield from _unknown(value, written[number], f"{path}[{number}]")
        case _ if given != written:
            yield f"{path}: {given!r} is understood as {written!r}"


def _wrong_values(value: Any, hint: Any, path: str) -> Iterator[str]:
    if hasattr(value, "to_json"):
        yield from _wrong_choices(value, path)
        for name, field_hint in get_type_hints(type(value)).items():
            yield from _wrong_values(getattr(value, name), field_hint, f"{path}.{name}")
    elif isinstance(value, list) and (lists := _lists_in(hint)):
        for number, item in enumerate(value):
            yield from _wrong_values(item, get_args(lists[0])[0], f"{path}[{number}]")
    elif not _is_of(value, hint):
        yield f"{path}: {value!r} is not {hint}"


def _wrong_choices(value: Any, path: str) -> Iterator[str]:
    """What the types leave open: kinds of panels, and units."""
    if isinstance(value, Panel) and isinstance(value.options, dict):
        yield f"{path}: panels of the type {value.type_val!r} are unknown"
    if isinstance(value, FieldConfig) and value.unit not in UNITS:
        yield f"{path}: the unit {value.unit!r} is unknown"


def _lists_in(hint: Any) -> list[Any]:
    return [one for one in (hint, *get_args(hint)) if get_origin(one) is list]


def _is_of(value: Any, hint: Any) -> bool:
    try:
        _adapter(hint).validate_json(json.dumps(value), strict=True)
    except ValidationError:
        return False
    return True


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
