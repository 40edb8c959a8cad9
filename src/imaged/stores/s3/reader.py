"""An open blob in a bucket, read by several ranged requests at once.

A small blob is one request. Of a larger one the first ``FIRST_RANGE_BYTES`` are, and what follows
is requested in ranges that end exactly, so that no connection is given up in the middle. When half
of the first range was read, the next range is fetched into memory, and one more at a time for each
that the caller had to wait for. So a slow client has one range in memory, and a fast one as many
connections as it can use, ``MAX_RANGES_AHEAD`` at most.

All readers of a store share the memory for ranges ahead (``ReadAheadMemory``). A reader never waits
for it: it reads from one request at a time instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Self

from imaged.core.limits import MIB
from imaged.stores.s3.client import S3Client, S3Response
from imaged.stores.s3.range_reader import RangeReader

FIRST_RANGE_BYTES = 8 * MIB
AHEAD_RANGE_BYTES = 8 * MIB  # each request costs about a millisecond of a processor
LONE_RANGE_BYTES = 64 * MIB  # of a reader that gets no memory: it has one request at a time
MAX_RANGES_AHEAD = 3


class S3Reader:
    """Reads forward from an offset; closed at the end of ``async with``. Is a ``BlobReader``.

    ``found``: the answer to HEAD. ``attempts``: see ``S3Client.call``.
    """

    def __init__(
        self,
        client: S3Client,
        key: str,
        found: S3Response,
        start: int = 0,
        *,
        attempts: int | None = None,
    ) -> None:
        self.size_bytes: int = found["ContentLength"]
        self._client = client
        self._key = key
        self._found = found
        self._attempts = attempts
        self._read_bytes = 0
        self._next_start = min(start, self.size_bytes)  # of what no range covers yet
        self._current = self._range(FIRST_RANGE_BYTES)
        self._ahead: deque[RangeReader] = deque()
        self._wanted = 1  # ranges ahead
        self._lent_bytes = 0

    async def read(self, length: int) -> bytes:
        """Return the next ``length`` bytes, fewer at the end of the blob. Raises StoreError."""
        taken: list[bytes] = []
        while length > 0:
            if not self._current.left_bytes and not await self._advance():
                break
            data = await self._current.read(min(length, self._current.left_bytes))
            taken.append(data)
            self._read_bytes += len(data)
            length -= len(data)
            self._fetch_ahead()
        return taken[0] if len(taken) == 1 else b"".join(taken)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release all connections and memory."""
        await asyncio.gather(*[each.close() for each in (self._current, *self._ahead)])
        self._client.read_ahead.give_back(self._lent_bytes)
        self._lent_bytes = 0

    async def _advance(self) -> bool:
        """Go on to the next range; returns whether there is one."""
        await self._current.close()
        lent_bytes = self._lent_bytes - len(self._ahead) * AHEAD_RANGE_BYTES
        self._client.read_ahead.give_back(lent_bytes)  # of the range that was read
        self._lent_bytes -= lent_bytes
        if self._ahead:
            self._current = self._ahead.popleft()
            change = -1 if all(each.is_fetched for each in (self._current, *self._ahead)) else 1
            self._wanted = min(max(self._wanted + change, 1), MAX_RANGES_AHEAD)
            return True
        self._current = self._range(LONE_RANGE_BYTES)
        return self._current.left_bytes > 0

    def _fetch_ahead(self) -> None:
        """Fetch more ranges, once it is likely that they will be read."""
        if self._read_bytes < FIRST_RANGE_BYTES // 2:
            return
        while (
            len(self._ahead) < self._wanted
            and self._next_start < self.size_bytes
            and self._client.read_ahead.try_take(AHEAD_RANGE_BYTES)
        ):
            self._lent_bytes += AHEAD_RANGE_BYTES
            self._ahead.append(self._range(AHEAD_RANGE_BYTES))
            self._ahead[-1].prefetch()

    def _range(self, length: int) -> RangeReader:
        """The next range, of up to this many bytes."""
        span = range(self._next_start, min(self._next_start + length, self.size_bytes))
        self._next_start = span.stop
        return RangeReader(self._client, self._key, self._found, span, attempts=self._attempts)
