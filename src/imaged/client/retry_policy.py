"""How often something is tried again, and how long to wait before."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

FIRST_PAUSE = timedelta(milliseconds=500)
MAX_PAUSE = timedelta(seconds=20)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """So many tries in all, with pauses between them that grow and are never the same twice: many
    clients that were thrown out together do not come back together.
    """

    tries: int = 5

    def pauses(self) -> Iterator[timedelta]:
        """One before each further try."""
        for number in range(self.tries - 1):
            yield min(FIRST_PAUSE * 2**number, MAX_PAUSE) * random.uniform(0.5, 1)  # noqa: S311 - no secret
