"""The number of tries, and the pauses between them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

FIRST_PAUSE = timedelta(milliseconds=500)
MAX_PAUSE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The number of tries in all; pauses grow and are random, so that many clients that failed
    together do not return together.
    """

    tries: int = 5

    def pauses(self) -> Iterator[timedelta]:
        """The pause before each further try."""
        for number in range(self.tries - 1):
            yield min(FIRST_PAUSE * 2**number, MAX_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 - no secret
