"""The time limit of lists, for every database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from anyio import move_on_after

from imaged.core.errors import ListTooSlow

#: A page of a million images takes a few milliseconds; what takes longer was made to.
LIST_TIMEOUT_SECONDS = 5.0


@contextmanager
def list_timeout() -> Iterator[None]:
    """Cancel the block when the limit is reached. Raises ListTooSlow, also for a TimeoutError."""
    try:
        with move_on_after(LIST_TIMEOUT_SECONDS) as scope:
            yield
    except TimeoutError as error:
        raise ListTooSlow(LIST_TIMEOUT_SECONDS) from error
    if scope.cancelled_caught:
        raise ListTooSlow(LIST_TIMEOUT_SECONDS)
