"""Relative paths of a settings file: they begin at its folder, wherever imaged was started."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from imaged.config.model import KeyPath, field_at_path
from imaged.config.types import SQLITE_PREFIX, looks_absolute


def with_absolute_paths(values: Mapping[str, Any], folder: Path, *path: str) -> dict[str, Any]:
    """The values of a file in ``folder``, with its paths made absolute."""
    return {
        key: with_absolute_paths(value, folder, *path, key)
        if isinstance(value, Mapping)
        else _absolute((*path, key), value, folder)
        for key, value in values.items()
    }


def _absolute(path: KeyPath, value: Any, folder: Path) -> Any:
    if not isinstance(value, str) or not value:
        return value
    if path == ("catalog", "url"):
        file = value.removeprefix(SQLITE_PREFIX)
        if file in {value, ""} or file.startswith((":", "/")) or looks_absolute(file):
            return value
        return f"{SQLITE_PREFIX}{_join(folder, file)}"
    return _join(folder, value) if _is_path(path) and not value.startswith("/") else value


def _is_path(path: KeyPath) -> bool:
    field = field_at_path(path)
    return field is not None and (field.annotation is Path or path[-1].endswith("_file"))


def _join(folder: Path, text: str) -> str:
    return os.path.normpath(folder / text)
