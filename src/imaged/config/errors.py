"""What is wrong with a configuration: every problem at once, none with a value in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. Values are never shown: one of them may be a secret."""

    origin: str  # a file, or "environment"
    key: str | None  # section.key, or the variable
    what: str

    def __str__(self) -> str:
        where = self.origin if self.key is None else f"{self.origin}:{self.key}"
        return f"{where}: {self.what}"


class ConfigInvalid(Exception):
    """The configuration cannot be used."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)
