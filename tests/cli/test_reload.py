"""A reload: each setting that it applies reaches every service that was built with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import anyio
from pydantic.fields import FieldInfo

from imaged.config import Config, load
from imaged.config.model import SECTIONS
from imaged.config.sections import is_reloadable
from imaged.core.policy import DEFAULT_POLICY
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from support.command import Workspace

#: What services are built with; listeners, tokens and the log read the rest.
OF_SERVICES = ("images", "uploads", "downloads", "scrubber", "reconcile", "tasks")

RELOADABLE = {
    f"{section}.{key}": field
    for section in OF_SERVICES
    for key, field in SECTIONS[section].model_fields.items()
    if is_reloadable(field) and not key.endswith("_file")  # what services have is its content
}

PLAIN = (bool, int, float, str, timedelta, Path, frozenset, type(None))

#: Where values are set that no other value is.
VALUES = {
    "images.disk_formats": ("raw",),
    "images.container_formats": ("bare",),
    "uploads.hash_algorithm": "sha256",
    "downloads.delegate_prefix": "/other/",
    "tasks.limits": (("clone", 1),),
}


def with_others(config: Config) -> Config:
    """The same configuration, but each of these settings has another value."""
    changes: dict[str, Any] = {}
    for section in OF_SERVICES:
        before = getattr(config, section)
        update = {
            key: VALUES.get(name) or another(getattr(before, key), field)
            for name, field in RELOADABLE.items()
            for of, key in [name.split(".")]
            if of == section
        }
        changes[section] = before.model_copy(update=update)
    return replace(config, **changes)


def another(value: object, field: FieldInfo) -> object:
    """A value that a setting may have, and does not have yet."""
    match value:
        case bool():
            return not value
        case int():
            return value + 1
        case float():
            return value / 2
        case timedelta():
            return value + timedelta(days=40)
    return next(choice for choice in get_args(field.annotation) if choice != value)


def plain_values(thing: object, path: str = "", seen: set[int] | None = None) -> dict[str, Any]:
    """Every number, text and duration that is reached from an object of ours, by its path."""
    seen = set() if seen is None else seen
    if isinstance(thing, PLAIN):
        return {path: thing}
    if not is_record(thing):  # records of settings are shared, and lead to no circle
        if id(thing) in seen:
            return {}
        seen.add(id(thing))
    found: dict[str, Any] = {}
    for name, value in attributes(thing):
        found |= plain_values(value, f"{path}.{name}", seen)
    return found


def is_record(thing: object) -> bool:
    """Whether it consists of immutable values."""
    parameters = getattr(thing, "__dataclass_params__", None)
    return parameters is not None and bool(parameters.frozen)


def attributes(thing: object) -> Iterator[tuple[str, object]]:
    """What an object is made of: its attributes if it is ours, or what is in it."""
    if isinstance(thing, Mapping):
        yield from ((str(key), value) for key, value in thing.items())
    elif isinstance(thing, tuple | list):
        yield from ((str(place), value) for place, value in enumerate(thing))
    elif type(thing).__module__.startswith("imaged."):
        slots = [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
        for name in {*slots, *getattr(thing, "__dict__", {})}:
            yield name, getattr(thing, name, None)


def test_a_reload_leaves_what_a_restart_would_build(workspace: Workspace) -> None:
    """After a reload all services have the values that new ones would get."""
    old = load(workspace.file, {})
    new = with_others(old)

    async def build() -> list[dict[str, Any]]:
        async with open_drivers(old) as parts:
            reloaded = ServiceContainer(parts, old)
            reloaded.apply(new, DEFAULT_POLICY)
            made = (
                ServiceContainer(parts, old),
                ServiceContainer(parts, old),
                reloaded,
                ServiceContainer(parts, new),
            )
            return [plain_values(services) for services in made]

    first, second, after, built = anyio.run(build)
    settled = [path for path in built if first.get(path) == second.get(path)]  # and no random ids

    assert sum(built[path] != first.get(path) for path in settled) >= len(RELOADABLE)
    assert {path: after.get(path) for path in settled} == {path: built[path] for path in settled}
