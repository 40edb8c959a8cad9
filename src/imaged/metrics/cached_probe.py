"""A look at something slow, for many who want to know: taken when somebody asks, and kept a while.

However many ask, and however long one look takes, there is one at a time; and since an answer is
kept for twenty times as long as it took, looking never takes more than a twentieth of anybody's
time. A look that hangs holds nobody up: those who ask are soon told that nothing is known.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Generic, TypeVar

import anyio

from imaged.core.errors import ImagedError

T = TypeVar("T")

MIN_CACHE_SECONDS = 5.0
CACHE_FACTOR = 20  # as long as the look took
STALE_GRACE_SECONDS = 30.0  # so much longer it is told, while the next look takes its time
PROBE_WAIT_SECONDS = 4.0  # of whoever asks; Prometheus waits for 10 by default


class CachedProbe(Generic[T]):
    """Looks at one thing."""

    def __init__(self, source: Callable[[], Awaitable[T]]) -> None:
        self._source = source
        self._seen: T | None = None
        self._fresh_until = -inf
        self._asked = anyio.Event()
        self._answered = anyio.Event()

    @property
    def value(self) -> T | None:
        """What was seen a moment ago. None: it failed, or does not answer."""
        return (
            self._seen if anyio.current_time() < self._fresh_until + STALE_GRACE_SECONDS else None
        )

    async def refresh(self) -> None:
        """Have a look taken, if the last one was long ago; wait for it, but not for ever."""
        if anyio.current_time() >= self._fresh_until:
            self._asked.set()
            with anyio.move_on_after(PROBE_WAIT_SECONDS):
                await self._answered.wait()

    async def run(self) -> None:
        """Probe whenever a value was asked for, until cancelled."""
        while True:
            await self._asked.wait()
            await self._probe()
            self._asked = anyio.Event()  # who asked meanwhile has this answer too
            self._answered.set()
            self._answered = anyio.Event()

    async def _probe(self) -> None:
        began = anyio.current_time()
        try:
            self._seen = await self._source()
        except ImagedError:  # whoever fails is asked by /readyz too, and told of in the log
            self._seen = None
        now = anyio.current_time()
        self._fresh_until = now + max(MIN_CACHE_SECONDS, CACHE_FACTOR * (now - began))
