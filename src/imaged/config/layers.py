"""Files and environment as layers; later layers override earlier ones, key by key."""

from __future__ import annotations

import errno
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_origin

from pydantic import BeforeValidator

from imaged.config.lines import line_of, line_of_mistake
from imaged.config.model import KeyPath, field_at_path
from imaged.config.problems import Mistake, Problem
from imaged.config.urls import SQLITE_PREFIX, looks_absolute

#: Origins of layers that are no files.
ENVIRONMENT = "environment"
CREDENTIALS = "credentials"
COMMAND_LINE = "command line"

ENVIRONMENT_PREFIX = "IMAGED_"
ENVIRONMENT_DELIMITER = "__"

READ_REMEDIES: Mapping[int, str] = {
    errno.ENOENT: "; correct --config, or create the file",
    errno.EACCES: "; run the command as root, or as the daemon's user",
}

#: Variables of commands that ask a service, such as `imaged push`, which are not settings.
CLIENT_VARIABLES = frozenset({"IMAGED_URL", "IMAGED_TOKEN", "IMAGED_CA_FILE", "IMAGED_PROFILE"})


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one file, of the environment, of credentials or of the command line.
    ``text``: that of the file, or the command.
    """

    origin: str
    values: Mapping[str, Any]
    text: str = ""

    def holds(self, path: KeyPath) -> bool:
        """Whether this layer sets the path."""
        values: Any = self.values
        for key in path:
            if not isinstance(values, Mapping) or key not in values:
                return False
            values = values[key]
        return True

    @property
    def source(self) -> str:
        """Its kind: ``"file"``, or the origin of what is no file."""
        return self.origin if self.origin in {ENVIRONMENT, CREDENTIALS, COMMAND_LINE} else "file"

    def value(self, path: KeyPath) -> Any:
        """The value of a path that this layer sets."""
        values: Any = self.values
        for key in path:
            values = values[key]
        return values

    def place(self, path: KeyPath) -> str:
        """Where a path is set, for people: the file and its line, the variable, the credential of
        systemd or the command.
        """
        if self.origin == ENVIRONMENT:
            return variable(path)
        if self.origin == CREDENTIALS:
            return f"credential {'.'.join(path).removesuffix('_file')}"
        return self.text if self.origin == COMMAND_LINE else f"{self.origin}:{self.line(path)}"

    def line(self, path: KeyPath) -> int | None:
        """The line that sets the path, or the longest part of it."""
        return line_of(self.text, path)

    def problem(self, mistake: Mistake) -> Problem:
        """A problem that names the key as the operator wrote it, and its line."""
        path, what, value = mistake.path, mistake.what, mistake.value
        if self.origin == ENVIRONMENT:
            return Problem(self.origin, variable(path), what, None, value)
        return Problem(self.origin, ".".join(path), what, self.line(path), value)


def variable(path: KeyPath) -> str:
    """The environment variable for a key."""
    return ENVIRONMENT_PREFIX + ENVIRONMENT_DELIMITER.join(path).upper()


def existing_files(file: Path) -> list[Path]:
    """A file and its drop-ins, in the order in which they are read; without a missing file."""
    try:
        is_there = file.exists()
    except OSError:  # it may be there
        is_there = True
    drop_ins = sorted(file.parent.glob("conf.d/*.toml"))
    return [file, *drop_ins] if is_there else drop_ins


def is_variable_of_settings(name: str) -> bool:
    """Whether an environment variable sets a setting."""
    return name.startswith(ENVIRONMENT_PREFIX) and name not in CLIENT_VARIABLES


def read_files(file: Path, *, must_exist: bool) -> tuple[list[Layer], list[Problem]]:
    """Read a file and its drop-ins; each unreadable file is a problem."""
    layers: list[Layer] = []
    problems: list[Problem] = []
    files = existing_files(file)
    for path in [file, *files] if must_exist and file not in files else files:
        try:
            data = path.read_bytes()
        except OSError as error:
            remedy = READ_REMEDIES.get(error.errno or 0, "")
            what = f"cannot be read: {error.strerror}{remedy}"
            problems.append(Problem(str(path), None, what))
            continue
        read = _parse_file(path, data)
        if isinstance(read, Layer):
            layers.append(read)
        else:
            problems.append(read)
    return layers, problems


def _parse_file(path: Path, data: bytes) -> Layer | Problem:
    what = "is not valid TOML: "
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        return Problem(str(path), None, f"{what}{error}", line)
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        return Problem(str(path), None, f"{what}{_first_line(error)}", line_of_mistake(text, error))
    return Layer(str(path), _with_absolute_paths(values, path.parent.absolute()), text)


def _with_absolute_paths(values: Mapping[str, Any], folder: Path, *path: str) -> dict[str, Any]:
    """The values of a file; its relative paths begin at its folder, wherever imaged was started."""
    return {
        key: _with_absolute_paths(value, folder, *path, key)
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
    if field is None:
        return False
    return field.annotation in {Path, Path | None} or path[-1].endswith("_file")


def _join(folder: Path, text: str) -> str:
    return os.path.normpath(folder / text)


def read_environment(environment: Mapping[str, str]) -> tuple[Layer, list[Problem]]:
    """Read the variables that begin with IMAGED_, each as the type of its setting."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name in sorted(environment):
        if not is_variable_of_settings(name):
            continue
        path = tuple(name.removeprefix(ENVIRONMENT_PREFIX).lower().split(ENVIRONMENT_DELIMITER))
        if len(path) == 1 or not all(path):
            what = f"must be {ENVIRONMENT_PREFIX}SECTION{ENVIRONMENT_DELIMITER}KEY"
            problems.append(Problem(ENVIRONMENT, name, what))
            continue
        set_at_path(values, path, _parse_variable(environment[name], path))
    return Layer(ENVIRONMENT, values), problems


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
