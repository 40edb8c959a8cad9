"""Checks a stream while it passes: digests, inspections and checks, each in a lane.

The results are known at the end of the stream: the last step of ``of`` raises if the bytes are not
acceptable. The ingest pipeline checks all bytes on their way into a store; tasks check the streams
that they read for their own use, such as the input of qemu-img.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from crc32c import crc32c

from imaged.core.block import Block
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.disk_format import Findings
from imaged.core.errors import TaskFailed
from imaged.core.image import Content, Image
from imaged.core.integrity import BLOCK_BYTES, CHECKSUM_BYTES, StoredContent, require_undamaged
from imaged.core.limits import require_complete, require_within
from imaged.lanes import BackgroundLane, Lane, LaneFactory
from imaged.ports.import_check import ImportCheck, ImportCheckRun, ImportFacts
from imaged.ports.inspector import Inspector

Feed = Callable[[Sequence[bytes]], None]


class StreamChecks:
    """The checks of one stream. They are added before the block in which the stream is read."""

    def __init__(
        self,
        lanes: LaneFactory,
        max_size_bytes: int = sys.maxsize,
        announced_bytes: int | None = None,
    ) -> None:
        self._make_lane = lanes
        self._max_size_bytes = max_size_bytes
        self._announced_bytes = announced_bytes
        self._limit_bytes = max_size_bytes
        if announced_bytes is not None:
            self._limit_bytes = min(max_size_bytes, announced_bytes)
        self._works: list[Callable[[Block], None]] = []
        self._verdicts: list[Callable[[], None]] = []
        self._open = AsyncExitStack()
        self.lanes: list[Lane[Block]] = []  # in the order in which they were added
        self.received_bytes = 0

    def in_lane(self, *feeds: Feed) -> None:
        """Add a lane, which passes the chunks to each of these in turn."""

        def work(block: Block) -> None:
            for feed in feeds:
                feed(block.chunks)

        self._works.append(work)

    def at_end(self, judge: Callable[[], None]) -> None:
        """Call ``judge`` after the last byte; it raises if the bytes are not acceptable."""
        self._verdicts.append(judge)

    def digest(
        self, hash_algorithm: str, checksum: Digest | None = None, *beside: Feed
    ) -> StreamDigests:
        """Compute the digests, in two lanes, the first for ``checksum``.

        ``beside``: what costs little, and shares the second lane.
        """
        digests = StreamDigests(self, hash_algorithm, checksum or Digest(CHECKSUM))
        self.in_lane(digests.checksum.feed)
        self.in_lane(digests.hash.feed, digests.blocks.feed, *beside)
        return digests

    def compare(self, store: str, content: Content) -> StreamDigests:
        """The stream is read from a store and must match its record. Otherwise raises
        DataDamaged.
        """
        digests = self.digest(content.hash_algorithm)
        self.at_end(lambda: require_undamaged(content, StoredContent(store, digests.content())))
        return digests

    def expect(self, algorithm: str, value: str) -> None:
        """The digest of the stream must be this one, in hexadecimal."""
        digest = Digest(algorithm)

        def judge() -> None:
            if digest.hexdigest() != value.lower():
                raise TaskFailed(
                    f"The {algorithm} of the data is {digest.hexdigest()}, but {value} was "
                    "expected: it was damaged in transit, or is another file."
                )

        self.in_lane(digest.feed)
        self.at_end(judge)

    def inspect(self, inspector: Inspector, judge: Callable[[Findings], None]) -> None:
        """Detect the format; ``judge`` raises if it is refused."""
        self.in_lane(each_chunk(inspector.feed))
        self.at_end(lambda: judge(inspector.findings()))

    def check(self, name: str, check: ImportCheckRun) -> None:
        """A check of the deployer must accept it. An error that it raises is an error of the
        server.
        """

        def judge() -> None:
            if why := check.verdict():
                raise TaskFailed(f"The check {name!r} refused the image: {why}")

        self.in_lane(each_chunk(check.feed))
        self.at_end(judge)

    async def __aenter__(self) -> Self:
        for work in self._works:
            lane = self._make_lane(work, computes=True)
            self.lanes.append(await self._open.enter_async_context(lane))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._open.__aexit__(kind, error, traceback)

    async def of(self, blocks: AsyncIterable[Block]) -> AsyncGenerator[Block]:
        """The same blocks. Raises TooLarge and SizeMismatch, and at the end the errors of the
        checks.
        """
        async for block in blocks:
            self.received_bytes += block.size_bytes
            if self.received_bytes > self._limit_bytes:
                require_within(self.received_bytes, self._announced_bytes, self._max_size_bytes)
            for lane in self.lanes:
                await lane.feed(block)
            yield block
            del block  # a reference would keep it alive while we wait for more
        for lane in self.lanes:
            await lane.drain()
        require_complete(self.received_bytes, self._announced_bytes)
        for judge in self._verdicts:
            judge()

    async def read(self, blocks: AsyncIterable[Block]) -> None:
        """Read a stream for its checks only. Raises the errors of ``of``."""
        async with self, aclosing(self.of(blocks)) as checked:
            async for block in checked:
                del block

    async def of_chunks(self, body: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
        """The same for a stream that is not in blocks; the lanes are open while it is read."""
        async with (
            self,
            aclosing(_as_blocks(body)) as blocks,
            aclosing(self.of(blocks)) as checked,
        ):
            async for block in checked:
                yield block.chunks[0]


class StreamDigests:
    """The digests of one stream, and of its blocks."""

    def __init__(self, stream: StreamChecks, hash_algorithm: str, checksum: Digest) -> None:
        self._stream = stream
        self._hash_algorithm = hash_algorithm
        self.checksum = checksum
        self.hash = Digest(hash_algorithm)
        self.blocks = BlockChecksummer()

    def content(self) -> Content:
        """The size and the digests of all bytes, at the end of the stream."""
        return Content(
            self._stream.received_bytes,
            self.checksum.hexdigest(),
            self._hash_algorithm,
            self.hash.hexdigest(),
            block_checksums=self.blocks.packed(),
        )


class BlockChecksummer:
    """The CRC-32C of each block of one stream (``core/integrity.py``, decision 32)."""

    def __init__(self) -> None:
        self._complete = bytearray()
        self._checksum = 0
        self._block_bytes = 0  # of the incomplete block

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Add the next chunks, of any size."""
        for chunk in chunks:
            rest = memoryview(chunk)
            while rest:
                room = BLOCK_BYTES - self._block_bytes
                self._checksum = extend_checksum(self._checksum, rest[:room])
                self._block_bytes += len(rest[:room])
                rest = rest[room:]
                if self._block_bytes == BLOCK_BYTES:
                    self._complete += self._checksum.to_bytes(CHECKSUM_BYTES)
                    self._checksum = self._block_bytes = 0

    def packed(self) -> bytes:
        """The checksums of all bytes fed, 4 bytes for each block."""
        last = self._checksum.to_bytes(CHECKSUM_BYTES) if self._block_bytes else b""
        return bytes(self._complete) + last


@dataclass(frozen=True, slots=True)
class StreamCheckFactory:
    """Creates the checks of a task's stream. ``max_size_bytes`` is called for each of them."""

    max_size_bytes: Callable[[], int]
    checks: Sequence[ImportCheck] = ()
    lanes: LaneFactory = BackgroundLane

    def begin(self) -> StreamChecks:
        """Checks that only limit the size so far."""
        return StreamChecks(self.lanes, self.max_size_bytes())

    def begin_import(
        self,
        image: Image,
        source: str,
        *,
        disk_format: str | None = None,
        properties: Mapping[str, object] | None = None,
    ) -> StreamChecks:
        """Checks for bytes from outside, including those of the deployer.

        ``source``: the host that sends them. ``disk_format`` and ``properties`` are those of the
        image, unless they are given.
        """
        facts = ImportFacts(
            owner=image.owner,
            disk_format=disk_format or image.disk_format or "",
            properties=image.properties if properties is None else properties,
            source=source,
        )
        stream_checks = self.begin()
        for check in self.checks:
            stream_checks.check(check.name, check.begin(facts))
        return stream_checks


def extend_checksum(checksum: int, chunk: bytes | memoryview) -> int:
    """Extend the CRC-32C of the preceding bytes by this chunk; the first chunk extends 0.

    Takes 50 µs for a mebibyte, without holding the GIL.
    """
    return crc32c(chunk, checksum)


def each_chunk(feed: Callable[[bytes], None]) -> Feed:
    """Pass on one chunk at a time."""

    def feed_each(chunks: Sequence[bytes]) -> None:
        for chunk in chunks:
            feed(chunk)

    return feed_each


async def _as_blocks(body: AsyncIterable[bytes]) -> AsyncGenerator[Block]:
    async for chunk in body:
        yield Block((chunk,), len(chunk))
