"""Reports of progress."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of a transfer; called for every block, so it must be quick."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """A transfer begins or restarts; a total of None is unknown."""
        ...

    def advance(self, size_bytes: int) -> None:
        """More bytes were transferred; their number."""
        ...

    def note(self, sentence: str) -> None:
        """A sentence for the user."""
        ...


class NoProgress:
    """Ignores all reports."""

    def begin(self, total_bytes: int | None, done_bytes: int = 0) -> None:
        """Ignore it."""

    def advance(self, size_bytes: int) -> None:
        """Ignore it."""

    def note(self, sentence: str) -> None:
        """Ignore it."""
