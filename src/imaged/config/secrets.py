"""Secrets: settings files must not contain them, because many users may read those.

A secret is in a file of its own, which a setting names (``secret_key_file``), in the environment,
or in a credential of systemd: the file ``SECTION.NAME`` in ``$CREDENTIALS_DIRECTORY`` then becomes
the value of ``SECTION.NAME_file``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from imaged.config.layers import CREDENTIALS, Layer, set_at_path, variable
from imaged.config.model import SECTIONS, KeyPath, field_at_path
from imaged.config.problems import Mistake, Problem
from imaged.config.sections import is_secret
from imaged.core.secret import Secret

CREDENTIALS_VARIABLE = "CREDENTIALS_DIRECTORY"
CATALOG_URL_PATH = ("catalog", "url")
PASSWORDS = frozenset({"password", "sslpassword"})  # among the parameters of a catalog's URL


def misplaced_secrets(layers: Sequence[Layer]) -> list[Problem]:
    """Problems for secrets in settings files; each says where the secret belongs."""
    return [
        layer.problem(Mistake(path, why))
        for layer in layers
        for path, value in _settings(layer.values)
        if (why := _misplacement(path, value))
    ]


def read_credentials(environment: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Read systemd's credentials; names that are not like settings are ignored."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    layer = Layer(CREDENTIALS, values)
    try:
        files = _files(environment.get(CREDENTIALS_VARIABLE, ""))
    except OSError as error:
        return layer, [Problem(layer.origin, None, f"cannot be read: {error.strerror}")]
    for file in files:
        *section, name = file.name.split(".")
        path = (*section, f"{name}_file")
        if field_at_path(path) is not None:
            set_at_path(values, path, str(file))
        elif section[0] in SECTIONS:
            problems.append(
                Problem(layer.origin, file.name, "is not the name of a setting that a file can set")
            )
    return layer, problems


def may_be_hidden(problem: Problem, environment: Mapping[str, str]) -> bool:
    """Whether the problem may be that systemd shows its credentials to the daemon alone, and not to
    the check before a reload.
    """
    _, troubles = read_credentials(environment)
    if not any(trouble.key is None for trouble in troubles):
        return False
    if problem.origin == CREDENTIALS:
        return True
    return (problem.key or "").endswith("_file") and problem.value is None


def _misplacement(path: KeyPath, value: object) -> str:
    """Why a settings file must not contain this; "" if it may."""
    if path == CATALOG_URL_PATH and has_password(value):
        return (
            "contains a password, which must not be in a settings file: name a file with it in "
            "password_file, or set PGPASSWORD in the environment, or pass it as the "
            "credential catalog.password of systemd; sslpassword goes into a service file of "
            "PostgreSQL, which service=NAME names"
        )
    if not is_secret(field_at_path(path)):
        return ""
    return (
        f"is a secret, which must not be in a settings file: name a file with it in "
        f"{path[-1]}_file, or set {variable(path)} in the environment, or pass it as "
        f"the credential {'.'.join(path)} of systemd"
    )


def has_password(url: object) -> bool:
    """Whether the URL of a catalog contains a password."""
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        return bool(parts.password) or not PASSWORDS.isdisjoint(parse_qs(parts.query))
    except ValueError:  # not a URL: validation refuses it
        return False


def _settings(values: Mapping[str, Any], *path: str) -> Iterator[tuple[KeyPath, object]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _settings(value, *path, key)
        else:
            yield (*path, key), value


def _files(directory: str) -> list[Path]:
    return sorted(Path(directory).glob("?*.?*")) if directory else []


def read_secret(path: Path) -> Secret:
    """The first line of a file, stripped of white space. Raises OSError, ValueError."""
    lines = path.read_text(encoding="utf-8").split("\n", maxsplit=1)
    text = lines[0].strip()
    if not text:
        message = f"{path} must begin with a line that has the key, and it is empty"
        raise ValueError(message)
    return Secret(text)
