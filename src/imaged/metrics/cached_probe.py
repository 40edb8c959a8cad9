"""A slow query, run on demand and cached for many callers.

At most one query runs at a time. A result is cached for ``CACHE_FACTOR`` times as long as its
query took, so queries take at most a twentieth of the time. A query that hangs blocks no caller:
callers wait at most ``PROBE_WAIT_SECONDS`` and then get None.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import Generic, TypeVar

import anyio

from imaged.core.errors import ImagedError

T = TypeVar("T")

MIN_CACHE_SECONDS = 5.0
CACHE_FACTOR = 20  # times the duration of the query
STALE_GRACE_SECONDS = 30.0  # a stale value is returned this much longer, during the next query
PROBE_WAIT_SECONDS = 4.0  # of a caller; Prometheus's scrape timeout is 10 s by default


class CachedProbe(Generic[T]):
    """Caches the result of one query. ``source``: runs the query; raises ImagedError."""

    def __init__(self, source: Callable[[], Awaitable[T]]) -> None:
        self._source = source
        self._seen: T | None = None
        self._fresh_until = -inf
        self._asked = anyio.Event()
        self._answered = anyio.Event()

    @property
    def value(self) -> T | None:
        """The cached result; None if the query failed or does not answer."""
        return (
            self._seen if anyio.current_time() < self._fresh_until + STALE_GRACE_SECONDS else None
        )

    async def refresh(self) -> None:
        """Request a query if the result is stale; wait at most ``PROBE_WAIT_SECONDS``."""
        if anyio.current_time() >= self._fresh_until:
            self._asked.set()
            with anyio.move_on_after(PROBE_WAIT_SECONDS):
                await self._answered.wait()

    async def run(self) -> None:
        """Run requested queries until cancelled."""
        while True:
            await self._asked.wait()
            await self._probe()
            self._asked = anyio.Event()  # requests made meanwhile get this result too
            self._answered.set()
            self._answered = anyio.Event()

    async def _probe(self) -> None:
        began = anyio.current_time()
        try:
            self._seen = await self._source()
        except ImagedError:  # /readyz and the log report it
            self._seen = None
        now = anyio.current_time()
        self._fresh_until = now + max(MIN_CACHE_SECONDS, CACHE_FACTOR * (now - began))
