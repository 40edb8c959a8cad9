"""Where the settings come from: files, credentials of systemd and variables, for people."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from imaged import DEFAULT_CONFIG_FILE
from imaged.config.layers import (
    Layer,
    existing_files,
    is_variable_of_settings,
    layer_that_set,
    variable,
)
from imaged.config.loader import read_layers
from imaged.config.problems import Problem


@dataclass(frozen=True, slots=True)
class Sources:
    """The files in the order in which they are read, and the variables. ``missing``: the default
    file, if it is not there and none was named.
    """

    files: Sequence[str]
    variables: Sequence[str]
    missing: str
    layers: Sequence[Layer]

    def __str__(self) -> str:
        told = [f"There is no {self.missing}."] if self.missing else []
        told += [f"Read: {', '.join(self.files)}."] if self.files else []
        told += [f"Of the environment: {', '.join(self.variables)}."] if self.variables else []
        if self.missing and not self.files and not self.variables:
            told.append("All settings have their defaults.")
        return " ".join(told) or "No file was read."

    def locate(self, problem: Problem) -> Problem:
        """The problem with the place of its setting, if it is not a default."""
        path = tuple((problem.key or "").split("."))
        layer = layer_that_set(path, self.layers) if self.layers else None
        if layer is None or problem.line is not None or not layer.holds(path):
            return problem
        if layer.origin == "environment":
            return replace(problem, origin=layer.origin, key=variable(path))
        return replace(problem, origin=layer.origin, line=layer.line(path))


def find_sources(
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    default_file: Path = DEFAULT_CONFIG_FILE,
) -> Sources:
    """Find what ``load`` reads with the same arguments."""
    main = file or default_file
    files = [str(path) for path in existing_files(main)]
    layers, _ = read_layers(file, environment, default_file)
    return Sources(
        files,
        sorted(filter(is_variable_of_settings, environment)),
        str(main) if file is None and str(main) not in files else "",
        layers,
    )
