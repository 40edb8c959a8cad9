"""Compares two configurations, to find the settings that a reload can apply."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from imaged.config import Config
from imaged.config.model import field_at_path
from imaged.config.reference import is_reloadable


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """The differences between two configurations."""

    config: Config  # the old one with the applied changes
    applied: dict[str, dict[str, object]]  # by key: {"from": …, "to": …}
    restart_needed: list[str]  # keys


def compare_configs(old: Config, new: Config) -> ConfigChanges:
    """Return ``old`` with the reloadable settings of ``new``, and the changed keys."""
    applied: dict[str, dict[str, object]] = {}
    restart_needed: list[str] = []
    sections: dict[str, Any] = {}
    for name in (field.name for field in fields(Config)):
        before, after = getattr(old, name), getattr(new, name)
        was, is_now = before.model_dump(), after.model_dump()
        update: dict[str, Any] = {}
        for key in was.keys() | is_now.keys():
            if was.get(key) == is_now.get(key):
                continue
            field = field_at_path((name, key))
            if field is not None and is_reloadable(field):
                update[key] = getattr(after, key)
                applied[f"{name}.{key}"] = {"from": was[key], "to": is_now[key]}
            else:
                restart_needed.append(f"{name}.{key}")
        sections[name] = before.model_copy(update=update) if update else before
    return ConfigChanges(Config(**sections), dict(sorted(applied.items())), sorted(restart_needed))
