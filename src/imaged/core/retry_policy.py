"""When to retry after a failure, and how long to pause before."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import count

_MAX_DOUBLINGS = 20  # more would overflow a timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Pauses that double with each failure, and the limits of further attempts.

    ``attempts``: how many are made in all, however short they are; None: no limit.
    ``retry_for``: how long more attempts than that are made, counted from the first failure.
    """

    first_pause: timedelta
    longest_pause: timedelta
    attempts: int | None = None
    retry_for: timedelta = timedelta(0)

    def pause(self, failures: int, chance: float = 1.0) -> timedelta:
        """The pause after so many failures in a row, the first of which is 1.

        ``chance``: a random number from 0 to 1 makes it a pause between half of that and all of it,
        so that clients that failed together do not return together.
        """
        longest = self.first_pause * (1 << min(failures - 1, _MAX_DOUBLINGS))
        return min(longest, self.longest_pause) * (0.5 + chance / 2)

    def next_pause(
        self, failures: int, failing_for: timedelta, chance: float = 1.0
    ) -> timedelta | None:
        """The pause before the next attempt; None: there is none.

        ``failing_for``: the time since the first failure. The last attempt is made when
        ``retry_for`` ends.
        """
        pause = self.pause(failures, chance)
        if self.attempts is None or failures < self.attempts:
            return pause
        left = self.retry_for - failing_for
        return min(pause, left) if left > timedelta(0) else None

    def pauses(self, chance: Callable[[], float] = lambda: 1.0) -> Iterator[timedelta]:
        """The pause before each further one of ``attempts``, in order."""
        failures = count(1) if self.attempts is None else range(1, self.attempts)
        return (self.pause(number, chance()) for number in failures)
