"""How fast small requests are answered: many at once for a while, or one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from time import perf_counter

from bench.client import Client, connected
from bench.endpoint import Endpoint

Act = Callable[[Client], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class LoadResult:
    """How long each act took, and all of them together."""

    seconds: float
    latencies: Sequence[float]

    @property
    def per_second(self) -> float:
        """Acts, over all connections."""
        return len(self.latencies) / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """So many of a hundred acts took no longer."""
        rank = round(percent / 100 * (len(self.latencies) - 1))
        return sorted(self.latencies)[rank] * 1000


async def run_load(endpoint: Endpoint, act: Act, *, at_once: int, seconds: float) -> LoadResult:
    """Repeat an act on so many connections for a while; each does it once at the least."""
    return await _pace(endpoint, act, at_once, lambda spent: spent < seconds)


async def run_load_while(endpoint: Endpoint, act: Act, is_wanted: Callable[[], bool]) -> LoadResult:
    """Repeat an act on one connection as long as something is so, and once at the least."""
    return await _pace(endpoint, act, 1, lambda _: is_wanted())


async def _pace(
    endpoint: Endpoint, act: Act, at_once: int, goes_on: Callable[[float], bool]
) -> LoadResult:
    latencies: list[float] = []
    async with AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(connected(endpoint)) for _ in range(at_once)]
        began = perf_counter()

        async def work(client: Client) -> None:
            now = perf_counter()
            while True:
                await act(client)
                before, now = now, perf_counter()
                latencies.append(now - before)
                if not goes_on(now - began):
                    return

        await asyncio.gather(*map(work, clients))
        return LoadResult(perf_counter() - began, latencies)
