"""Secrets among the settings: no file of settings holds them, because many may read it.

They are in files of their own, which settings name (``secret_key_file``); or in the environment; or
systemd hands them over as credentials, which are files too: the credential ``SECTION.NAME``, in
``$CREDENTIALS_DIRECTORY``, is what the setting ``SECTION.NAME_file`` names then.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from pydantic.fields import FieldInfo

from imaged.config.errors import Problem
from imaged.config.layers import KeyPath, Layer, set_at_path, variable
from imaged.config.model import SECTIONS, field_at_path

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CATALOG_URL_PATH = ("catalog", "url")


def is_secret(field: FieldInfo | None) -> bool:
    """Whether nobody may see the value of a setting."""
    extra = None if field is None else field.json_schema_extra
    return isinstance(extra, dict) and extra.get("secret") is True


def misplaced_secrets(layers: Sequence[Layer]) -> list[Problem]:
    """Secrets in files of settings, each with where it belongs."""
    return [
        layer.problem(path, why)
        for layer in layers
        for path, value in _settings(layer.values)
        if (why := _misplacement(path, value))
    ]


def read_credentials(environment: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Find what systemd hands over. Files that are not named like settings are for others."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    layer = Layer("credentials", values)
    for file in _files(environment.get(CREDENTIALS_VARIABLE, "")):
        *section, name = file.name.split(".")
        path = (*section, f"{name}_file")
        if field_at_path(path) is not None:
            set_at_path(values, path, str(file))
        elif section[0] in SECTIONS:
            problems.append(Problem(layer.origin, file.name, "is nothing that a file can give"))
    return layer, problems


def _misplacement(path: KeyPath, value: object) -> str:
    """Why this may not stand in a file of settings; "" where it may."""
    if path == CATALOG_URL_PATH and _has_password(value):
        return (
            "has a password in it, which does not belong here: name a file that holds it in "
            "password_file, or set PGPASSWORD in the environment, or hand it over as the "
            "credential catalog.password of systemd"
        )
    if not is_secret(field_at_path(path)):
        return ""
    return (
        f"is a secret, which does not belong here: name a file that holds it in {path[-1]}_file, "
        f"or set {variable(path)} in the environment, or hand it over as the credential "
        f"{'.'.join(path)} of systemd"
    )


def _has_password(url: object) -> bool:
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        return bool(parts.password) or "password" in parse_qs(parts.query)
    except ValueError:  # it is no URL, and refused as that
        return False


def _settings(values: Mapping[str, Any], *path: str) -> Iterator[tuple[KeyPath, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, *path, key)
        else:
            yield (*path, key), value


def _files(directory: str) -> list[Path]:
    return sorted(Path(directory).glob("?*.?*")) if directory else []
