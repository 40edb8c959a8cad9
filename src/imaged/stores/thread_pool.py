"""Thread pools for calls that block. Each store has its own, so a stalled disk stalls no other
store.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TypeVar

import anyio
from aiofiles.os import wrap

T = TypeVar("T")


class ThreadPool:
    """A thread pool whose threads start when they are needed."""

    def __init__(self, name: str, count: int) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns. When cancelled, abandon the thread."""
        return await wrap(work)(executor=self._pool)

    async def run_shielded(self, work: Callable[[], None], patience: timedelta) -> None:
        """Run the work shielded from cancellation; wait for it at most ``patience``."""
        done = asyncio.wrap_future(self._pool.submit(work))
        with anyio.CancelScope(shield=True):
            await asyncio.wait({done}, timeout=patience.total_seconds())
