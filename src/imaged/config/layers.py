"""Files and environment as layers; later layers override earlier ones, key by key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from pydantic import BeforeValidator

from imaged.config.model import KeyPath, field_at_path
from imaged.config.problems import Problem

ENVIRONMENT_PREFIX = "IMAGED_"
ENVIRONMENT_DELIMITER = "__"

#: Variables of `imaged push` and `imaged pull`, which are not settings.
CLIENT_VARIABLES = frozenset({"IMAGED_URL", "IMAGED_TOKEN", "IMAGED_CA_FILE"})


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one file, or of the environment."""

    origin: str
    values: Mapping[str, Any]

    def holds(self, path: KeyPath) -> bool:
        """Whether this layer sets the path."""
        values: Any = self.values
        for key in path:
            if not isinstance(values, Mapping) or key not in values:
                return False
            values = values[key]
        return True

    def problem(self, path: KeyPath, what: str) -> Problem:
        """A problem that names the key as the operator wrote it."""
        if self.origin == "environment":
            return Problem(self.origin, variable(path), what)
        return Problem(self.origin, ".".join(path), what)


def variable(path: KeyPath) -> str:
    """The environment variable for a key."""
    return ENVIRONMENT_PREFIX + ENVIRONMENT_DELIMITER.join(path).upper()


def read_files(file: Path, *, must_exist: bool) -> tuple[list[Layer], list[Problem]]:
    """Read a file and its drop-ins; each unreadable file is a problem."""
    layers: list[Layer] = []
    problems: list[Problem] = []
    drop_ins = sorted(file.parent.glob("conf.d/*.toml"))
    for path in [file, *drop_ins]:
        try:
            layers.append(Layer(str(path), tomllib.loads(path.read_text("utf-8"))))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not must_exist:
                continue
            problems.append(Problem(str(path), None, f"cannot be read: {error.strerror}"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            problems.append(Problem(str(path), None, f"is not valid TOML: {_first_line(error)}"))
    return layers, problems


def read_environment(environment: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Read the variables that begin with IMAGED_, each as the type of its setting."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in sorted(environment):
        if not name.startswith(ENVIRONMENT_PREFIX) or name in CLIENT_VARIABLES:
            continue
        path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split(ENVIRONMENT_DELIMITER))
        if len(path) == 1 or not all(path):
            what = f"must be {ENVIRONMENT_PREFIX}SECTION{ENVIRONMENT_DELIMITER}KEY"
            problems.append(Problem("environment", name, what))
            continue
        set_at_path(values, path, _parse_variable(environment[name], path))
    return Layer("environment", values), problems


def _parse_variable(text: str, path: KeyPath) -> object:
    """The value of the text for this setting; an invalid text is returned, to be refused."""
    field = field_at_path(path)
    if field is None or any(isinstance(hint, BeforeValidator) for hint in field.metadata):
        return text
    is_list = get_origin(field.annotation) is tuple
    if is_list and not text.startswith("["):
        return [item.strip() for item in text.split(",")]
    if not is_list and field.annotation not in {bool, int, float}:
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text


def set_at_path(values: dict[str, Any], path: KeyPath, value: object) -> None:
    """Set the value at the path."""
    for key in path[:-1]:
        inner = values.setdefault(key, {})
        if not isinstance(inner, dict):
            return  # IMAGED_A__B beside IMAGED_A__B__C: validation refuses the former
        values = inner
    values[path[-1]] = value


def merge_layers(layers: Sequence[Layer]) -> dict[str, Any]:
    """The effective values."""
    merged: dict[str, Any] = {}
    for layer in layers:
        _merge_into(merged, layer.values)
    return merged


def layer_that_set(path: KeyPath, layers: Sequence[Layer]) -> Layer:
    """The layer that set the key; for a missing key, the one that set its table."""
    while path:
        for layer in reversed(layers):
            if layer.holds(path):
                return layer
        path = path[:-1]
    return layers[0]


def _merge_into(merged: dict[str, Any], values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = merged.get(key)
            merged[key] = dict(inner) if isinstance(inner, Mapping) else {}
            _merge_into(merged[key], value)
        else:
            merged[key] = value


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
