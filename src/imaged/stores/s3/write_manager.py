"""Manages the attempts to write in one bucket: rolls each back unless it succeeds."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio

from imaged.ports.store import RecordUploadId, ignore_upload_id
from imaged.stores.s3.client import S3Client
from imaged.stores.s3.part_memory import PartMemory
from imaged.stores.s3.writer import NO_METADATA, S3Writer

ROLLBACK_TIMEOUT = timedelta(seconds=10)  # after that it goes on in the background


class S3WriteManager:
    """Makes attempts that share the memory for parts."""

    def __init__(self, client: S3Client) -> None:
        self._client = client
        self._memory = PartMemory(client.settings)
        self._clean_ups: set[asyncio.Task[None]] = set()
        self._pending_rollbacks: Counter[str] = Counter()

    def may_roll_back(self, key: str) -> bool:
        """Whether an attempt of this process may still remove an existing object."""
        return self._pending_rollbacks[key] > 0

    @asynccontextmanager
    async def begin(
        self,
        key: str,
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
        metadata: Mapping[str, str] = NO_METADATA,
    ) -> AsyncIterator[S3Writer]:
        """An attempt to write; it is rolled back unless the block succeeds."""
        with self._memory.share() as share:
            write = S3Writer(
                self._client,
                key,
                share,
                expected_bytes=expected_bytes,
                record=record,
                metadata=metadata,
            )
            self._pending_rollbacks[key] += 1
            is_published = False
            try:
                yield write
                is_published = True  # nothing was awaited since that became true
            finally:
                if is_published:
                    self._rollback_decided(key)
                else:
                    await self.finish(self._discard(key, write))

    async def _discard(self, key: str, write: S3Writer) -> None:
        await write.discard()
        self._rollback_decided(key)

    def _rollback_decided(self, key: str) -> None:
        self._pending_rollbacks[key] -= 1
        if not self._pending_rollbacks[key]:
            del self._pending_rollbacks[key]

    async def finish(self, clean_up: Coroutine[Any, Any, None]) -> None:
        """Run the work shielded from cancellation; wait at most ``ROLLBACK_TIMEOUT``."""
        task = asyncio.create_task(clean_up)
        self._clean_ups.add(task)
        task.add_done_callback(self._clean_ups.discard)
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task}, timeout=ROLLBACK_TIMEOUT.total_seconds())

    async def settle(self) -> None:
        """Wait for pending rollbacks, at most ``ROLLBACK_TIMEOUT``."""
        if self._clean_ups:
            await asyncio.wait(self._clean_ups, timeout=ROLLBACK_TIMEOUT.total_seconds())
