"""What a changed configuration changes in a running daemon."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from imaged.config import Config
from imaged.config.model import field_at_path
from imaged.config.reference import is_reloadable


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """What is different, and what follows."""

    config: Config  # the one to go on with
    applied: dict[str, dict[str, object]]  # key: from, to
    restart_needed: list[str]  # keys


def compare_configs(old: Config, new: Config) -> ConfigChanges:
    """Take over from ``new`` what can be changed in a running process."""
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
