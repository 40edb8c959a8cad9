"""What push and pull share: reports of progress, and the pauses between tries."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

DEFAULT_TRIES = 5
FIRST_PAUSE = timedelta(milliseconds=500)
MAX_PAUSE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The number of tries in all; pauses grow and are random, so that many clients that failed
    together do not return together.
    """

    tries: int = DEFAULT_TRIES

    def pauses(self) -> Iterator[timedelta]:
        """The pause before each further try."""
        for number in range(self.tries - 1):
            yield min(FIRST_PAUSE * 2**number, MAX_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 - no secret


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
