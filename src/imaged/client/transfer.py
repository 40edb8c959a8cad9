"""What push and pull share: reports of progress, and the pauses between tries."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from imaged.core.retry_policy import RetryPolicy

DEFAULT_TRIES = 5
RETRIES = RetryPolicy(first_pause=timedelta(seconds=0.5), longest_pause=timedelta(seconds=20))


def retry_pauses(tries: int) -> Iterator[timedelta]:
    """The pause before each further try, of ``tries`` in all.

    They are random, so that many clients that failed together do not return together.
    """
    return replace(RETRIES, attempts=tries).pauses(random.random)


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
