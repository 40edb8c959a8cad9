"""Errors of the configuration: all problems at once, none with a value in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake to correct. Values are never shown, because they may be secrets."""

    origin: str  # a file, or "environment"
    key: str | None  # section.key, or the variable
    what: str

    def __str__(self) -> str:
        where = self.origin if self.key is None else f"{self.origin}:{self.key}"
        return f"{where}: {self.what}"


class ConfigInvalid(Exception):
    """The configuration cannot be used; ``problems`` has all reasons."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
