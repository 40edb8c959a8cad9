"""The attempts to write in one bucket: each is taken back, unless it ends well."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio

from imaged.ports.store import Record, forget_upload
from imaged.stores.s3_calls import S3Calls
from imaged.stores.s3_room import PartRoom
from imaged.stores.s3_write import NO_NOTES, S3Write

CLEAN_UP_PATIENCE = timedelta(seconds=10)  # then it goes on by itself


class S3Attempts:
    """All of them share the memory for parts."""

    def __init__(self, calls: S3Calls) -> None:
        self._calls = calls
        self._room = PartRoom(calls.settings)
        self._clean_ups: set[asyncio.Task[None]] = set()
        self._undecided: Counter[str] = Counter()

    def is_undecided(self, key: str) -> bool:
        """Whether an attempt of this process may still take back what is there."""
        return self._undecided[key] > 0

    @asynccontextmanager
    async def begin(
        self,
        key: str,
        expected_bytes: int | None = None,
        record: Record = forget_upload,
        notes: Mapping[str, str] = NO_NOTES,
    ) -> AsyncIterator[S3Write]:
        """An attempt to write; it is taken back unless the block ends well."""
        with self._room.share() as share:
            write = S3Write(
                self._calls,
                key,
                share,
                expected_bytes=expected_bytes,
                record=record,
                notes=notes,
            )
            self._undecided[key] += 1
            is_published = False
            try:
                yield write
                is_published = True  # since it is so, nothing was awaited
            finally:
                if is_published:
                    self._decided(key)
                else:
                    await self.finish(self._discard(key, write))

    async def _discard(self, key: str, write: S3Write) -> None:
        await write.discard()
        self._decided(key)

    def _decided(self, key: str) -> None:
        self._undecided[key] -= 1
        if not self._undecided[key]:
            del self._undecided[key]

    async def finish(self, clean_up: Coroutine[Any, Any, None]) -> None:
        """Do it in any case, also when cancelled; wait for it, but not for ever."""
        task = asyncio.create_task(clean_up)
        self._clean_ups.add(task)
        task.add_done_callback(self._clean_ups.discard)
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task}, timeout=CLEAN_UP_PATIENCE.total_seconds())

    async def settle(self) -> None:
        """Wait for those that clean up, but not for ever."""
        if self._clean_ups:
            await asyncio.wait(self._clean_ups, timeout=CLEAN_UP_PATIENCE.total_seconds())
