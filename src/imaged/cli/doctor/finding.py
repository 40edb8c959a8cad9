"""Findings of checks: level, text and remedy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """The level of a finding; the highest one is the exit code."""

    OK = 0
    WARNING = 1
    PROBLEM = 2

    @property
    def word(self) -> str:
        """The printed word."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check. ``remedy`` is "" if there is nothing to do."""

    level: Level
    subject: str  # the checked part, such as "store local"
    what: str
    remedy: str = ""


def ok(subject: str, what: str) -> Finding:
    """A finding without fault."""
    return Finding(Level.OK, subject, what)


def warning(subject: str, what: str, remedy: str) -> Finding:
    """A fault that does not keep a daemon from working yet."""
    return Finding(Level.WARNING, subject, what, remedy)


def problem(subject: str, what: str, remedy: str) -> Finding:
    """A fault that keeps a daemon from working, or is a security hole."""
    return Finding(Level.PROBLEM, subject, what, remedy)


def worst(findings: Iterable[Finding]) -> Level:
    """The highest level of all."""
    return max((finding.level for finding in findings), default=Level.OK)
