"""The effective settings: the value of each, and the file, variable or default that it has from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from imaged.config.layers import Layer
from imaged.config.model import TABLE_TYPES, TABLES, Config, KeyPath, field_at_path
from imaged.config.sections import is_reloadable, is_secret, settings_in
from imaged.config.stores import StoresSection
from imaged.telemetry.sanitize import redacted

DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting. Values are as a settings file has them."""

    path: KeyPath
    value: Any  # None if it is not shown
    default: Any  # None if there is none
    source: str  # "default", "file", "credentials", "environment" or "command line"
    place: str  # the file and its line, the credential, the variable or the command; or "default"
    overridden: Sequence[str]  # the places of values that are not used, the last one first
    hidden: str = ""  # why the value, or a part of it, is not shown

    @property
    def name(self) -> str:
        """Its section and its key, such as ``scrubber.delay``."""
        return ".".join(self.path)

    @property
    def is_reloadable(self) -> bool:
        """Whether a reload applies a change."""
        return is_reloadable(field_at_path(self.path))

    def matches(self, name: str) -> bool:
        """Whether this is its name, or that of its section, its table or its key."""
        return name == self.path[-1] or f"{self.name}.".startswith(f"{name}.")


def effective_settings(config: Config, layers: Sequence[Layer]) -> Iterator[EffectiveSetting]:
    """The settings of a valid configuration, section by section. ``layers``: what it was read from,
    in order. Secrets that are not set are left out.
    """
    for path in _paths(config):
        found = [layer for layer in reversed(layers) if layer.holds(path)]
        if not found and is_secret(field_at_path(path)):
            continue
        default = _default(path)
        value, hidden = _shown(path, found[0].value(path) if found else default)
        yield EffectiveSetting(
            path,
            value,
            default,
            found[0].source if found else DEFAULT,
            found[0].place(path) if found else DEFAULT,
            [layer.place(path) for layer in found[1:]],
            hidden,
        )


def similar_names(name: str, settings: Sequence[EffectiveSetting]) -> Sequence[str]:
    """The names of settings, keys and sections that are like a wrong one, the nearest first."""
    known = {part for one in settings for part in (one.name, one.path[0], one.path[-1])}
    return get_close_matches(name, sorted(known))


def _paths(config: Config) -> Iterator[KeyPath]:
    for path, model in TABLES.items():
        yield from ((*path, key) for key in settings_in(model))
        section = path[0]
        if section in TABLE_TYPES:
            for name, table in getattr(config, section).by_name.items():
                yield from ((section, name, key) for key in type(table).model_fields)


def _default(path: KeyPath) -> Any:
    section, *table, key = path
    if section == "stores" and table:
        values: Mapping[str, Any] = StoresSection.DEFAULT.get(table[0], {})
        if key in values:
            return values[key]
    field = field_at_path(path)
    return None if field is None or field.is_required() else field.default


def _shown(path: KeyPath, value: Any) -> tuple[Any, str]:
    """The value without secrets, and why something is not shown."""
    if is_secret(field_at_path(path)):
        return None, "a secret, which is not shown"
    if not isinstance(value, str) or not value:
        return value, ""
    if path[-1].endswith("_file") and not os.path.exists(value):  # noqa: PTH110 - raises nothing
        return None, "not shown, as no such file can be seen: it may be a secret in the wrong place"
    text = redacted(value)
    return text, "" if text == value else "without its password"
