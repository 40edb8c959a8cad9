"""Who is told how far a transfer is."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Told of every block, so it must be quick."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """A transfer begins, or begins anew; None: nobody knows how much will come."""
        ...

    def advance(self, size_bytes: int) -> None:
        """So much more was carried."""
        ...

    def note(self, sentence: str) -> None:
        """Something to know besides."""
        ...


class NoProgress:
    """Tells nobody."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Ignore it."""

    def advance(self, size_bytes: int) -> None:
        """Ignore it."""

    def note(self, sentence: str) -> None:
        """Ignore it."""
