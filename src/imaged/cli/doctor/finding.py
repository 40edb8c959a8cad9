"""What an examination finds: how bad it is, and what to do."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """The worst one is the exit code."""

    OK = 0
    WARNING = 1
    PROBLEM = 2

    @property
    def word(self) -> str:
        """As it is printed."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """One of them. ``remedy`` is "" where there is nothing to do."""

    level: Level
    subject: str  # what was looked at, such as "store local"
    what: str
    remedy: str = ""


def ok(subject: str, what: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, subject, what)


def warning(subject: str, what: str, remedy: str) -> Finding:
    """It works, and will not for ever."""
    return Finding(Level.WARNING, subject, what, remedy)


def problem(subject: str, what: str, remedy: str) -> Finding:
    """It keeps a daemon from its work, or lets somebody in."""
    return Finding(Level.PROBLEM, subject, what, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """How bad it is in all."""
    return max((finding.level for finding in findings), default=Level.OK)
