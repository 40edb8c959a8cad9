"""The parts of one upload that are in flight, several at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from imaged.core.errors import StoreFull
from imaged.stores.s3.settings import MAX_BLOB_BYTES, MAX_PARTS

CompletedPart = dict[str, Any]  # what the completion of the upload says of a part


class PartUploads:
    """Stores parts, each in a task."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._parts = 0
        self._size_bytes = 0
        self._stored: dict[int, CompletedPart] = {}
        self._under_way: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None

    def launch(
        self,
        work: Callable[[int], Coroutine[Any, Any, CompletedPart]],
        size_bytes: int,
        at_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin to store the next part; ``work`` gets its number. Raises StoreFull."""
        self._parts += 1
        self._size_bytes += size_bytes
        if self._parts > MAX_PARTS or self._size_bytes > MAX_BLOB_BYTES:
            why = (
                f"allows a blob {MAX_PARTS} parts and 5 TiB, and this one needs more: announce "
                "its size, or set a larger part_size"
            )
            raise StoreFull(self._store, why)
        task = asyncio.create_task(self._store_part(self._parts, work))
        self._under_way.add(task)
        task.add_done_callback(self._end)
        task.add_done_callback(lambda _: at_end())

    def raise_failure(self) -> None:
        """Raise the exception of a part that failed, if any."""
        if self._failure is not None:
            raise self._failure

    async def settle(self, at_most: int = 0) -> None:
        """Wait until at most this many are in flight. Raises what storing a part raised."""
        while len(self._under_way) > at_most:
            await asyncio.wait(self._under_way, return_when=asyncio.FIRST_COMPLETED)
        self.raise_failure()

    def stored(self) -> list[CompletedPart]:
        """The parts that complete the upload, once all are settled."""
        return [self._stored[number] for number in sorted(self._stored)]

    async def cancel(self) -> None:
        """Cancel what is in flight."""
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)

    async def _store_part(
        self, number: int, work: Callable[[int], Coroutine[Any, Any, CompletedPart]]
    ) -> None:
        self._stored[number] = await work(number)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        if task.cancelled():
            return
        error = task.exception()  # retrieved from each, or asyncio reports it as never retrieved
        self._failure = self._failure or error
