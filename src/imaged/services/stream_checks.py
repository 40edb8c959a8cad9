"""Checks a stream while it passes: digests, inspections and checks, each in a lane.

The results are known at the end of the stream: the last step of ``of`` raises if the bytes are not
acceptable. The ingest pipeline checks all bytes on their way into a store; tasks check the streams
that they read for their own use, such as the input of qemu-img.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Protocol

from crc32c import crc32c

from imaged.core.block import Block, Blocks, TransferBudget
from imaged.core.broken_upload import RetryDigest
from imaged.core.digests import CHECKSUM, Digest, ExpectedDigest, is_supported_algorithm
from imaged.core.disk_format import Findings
from imaged.core.errors import TaskFailed
from imaged.core.image import Content
from imaged.core.integrity import BLOCK_BYTES, CHECKSUM_BYTES, StoredContent, require_undamaged
from imaged.core.limits import require_complete, require_within
from imaged.lanes import Lane, LaneFactory
from imaged.ports.disk_image import ImportCheckRun, Inspector

MAX_BLOCK_CHUNKS = 256  # blocks with more chunks are joined: each chunk costs memory of its own


class ChunkReader(Protocol):
    """Reads the chunks of a stream in order, in a lane."""

    @property
    def feed(self) -> Callable[[bytes], None]:
        """Read the next chunk."""
        ...


class StreamChecks:
    """The checks of one stream; they are added before it is read, and are ``running`` meanwhile."""

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
        self.lanes: list[Lane[Block]] = []  # in the order in which they were added
        self.received_bytes = 0

    def in_lane(self, *readers: ChunkReader, note: Callable[[Block], None] | None = None) -> None:
        """Add a lane, which passes the chunks to each of these in turn; ``note``: called then."""

        def work(block: Block) -> None:
            for reader in readers:
                for chunk in block.chunks:
                    reader.feed(chunk)
            if note is not None:
                note(block)

        self._works.append(work)

    def at_end(self, judge: Callable[[], None]) -> None:
        """Call ``judge`` after the last byte; it raises if the bytes are not acceptable."""
        self._verdicts.append(judge)

    def digest(
        self,
        hash_algorithm: str,
        *readers: ChunkReader,
        with_checksum: bool = True,
        retry: RetryDigest | None = None,
    ) -> StreamDigests:
        """Compute the digests: ``hash_algorithm`` in the last lane, and others before it.

        ``readers``: cheap ones, which share the last lane. ``retry``: replaces the digest of its
        algorithm, or is one more.
        """
        digests = StreamDigests(self, hash_algorithm, with_checksum=with_checksum, retry=retry)
        for digest in digests.others:
            self.in_lane(digest, note=digests.note if digest is retry else None)
        note = digests.note if digests.hash is retry else None
        self.in_lane(digests.hash, digests.blocks, *readers, note=note)
        return digests

    def digest_like(self, content: Content) -> StreamDigests:
        """Compute the digests that this record has, as far as this machine has them."""
        has_checksum = content.checksum is not None and is_supported_algorithm(CHECKSUM)
        return self.digest(content.hash_algorithm, with_checksum=has_checksum)

    def compare(self, store: str, content: Content) -> StreamDigests:
        """The stream is read from a store and must match its record. Otherwise raises
        DataDamaged.
        """
        digests = self.digest_like(content)
        self.at_end(lambda: require_undamaged(content, StoredContent(store, digests.content())))
        return digests

    def expect(self, expected: ExpectedDigest | None) -> None:
        """The digest of the stream must be this one; None: it may be any."""
        if expected is None:
            return
        digest = Digest(expected.algorithm)

        def judge() -> None:
            if digest.hexdigest() != expected.value.lower():
                raise TaskFailed(
                    f"The {expected.algorithm} of the data is {digest.hexdigest()}, but "
                    f"{expected.value} was expected: it was damaged in transit, or is another file."
                )

        self.in_lane(digest)
        self.at_end(judge)

    def inspect(self, inspector: Inspector, judge: Callable[[Findings], None]) -> None:
        """Detect the format; ``judge`` raises if it is refused."""
        self.in_lane(inspector)
        self.at_end(lambda: judge(inspector.findings()))

    def check(self, name: str, check: ImportCheckRun) -> None:
        """A check of the deployer must accept it. An error that it raises is an error of the
        server.
        """

        def judge() -> None:
            if why := check.verdict():
                raise TaskFailed(f"The check {name!r} refused the image: {why}")

        self.in_lane(check)
        self.at_end(judge)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the lanes open during the block, in which the stream is read."""
        async with AsyncExitStack() as lanes:
            for work in self._works:
                lane = self._make_lane(work, computes=True)
                self.lanes.append(await lanes.enter_async_context(lane))
            yield

    async def of(self, blocks: Blocks) -> AsyncGenerator[Block]:
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

    async def read(self, blocks: Blocks) -> None:
        """Read a stream for its checks only. Raises the errors of ``of``."""
        async with self.running(), aclosing(self.of(blocks)) as checked:
            async for block in checked:
                del block

    async def of_chunks(self, body: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
        """The same for a stream that is not in blocks; the lanes are open while it is read."""
        async with (
            self.running(),
            aclosing(_as_blocks(body)) as blocks,
            aclosing(self.of(blocks)) as checked,
        ):
            async for block in checked:
                yield block.chunks[0]


class StreamDigests:
    """The digests of one stream, and of its blocks."""

    def __init__(
        self,
        stream: StreamChecks,
        hash_algorithm: str,
        *,
        with_checksum: bool,
        retry: RetryDigest | None,
    ) -> None:
        self._stream = stream
        self._hash_algorithm = hash_algorithm
        self._retry = retry
        own = retry  # until one of the digests of the image is it
        self._checksum: Digest | None = None
        if with_checksum:
            is_own = own is not None and own.algorithm == CHECKSUM
            self._checksum = own if is_own else Digest(CHECKSUM)
            own = None if is_own else own
        is_own = own is not None and own.algorithm == hash_algorithm
        self.hash: Digest = own if own is not None and is_own else Digest(hash_algorithm)
        own = None if is_own else own
        self.others = [one for one in (self._checksum, own) if one is not None]
        self.blocks = BlockChecksummer()
        self.so_far = 0, ""  # bytes and the digest of ``retry``, after each block

    @property
    def retry_lane(self) -> int:
        """The number of the lane that feeds ``retry``; the last one if there is none."""
        numbers = [number for number, one in enumerate(self.others) if one is self._retry]
        return numbers[0] if numbers else len(self.others)

    def note(self, block: Block) -> None:
        """Note the digest of the bytes so far, in the lane of ``retry``."""
        if self._retry is not None:
            self.so_far = self.so_far[0] + block.size_bytes, self._retry.hexdigest()

    def content(self) -> Content:
        """The size and the digests of all bytes, at the end of the stream."""
        return Content(
            self._stream.received_bytes,
            None if self._checksum is None else self._checksum.hexdigest(),
            self._hash_algorithm,
            self.hash.hexdigest(),
            block_checksums=self.blocks.packed(),
        )


class BlockChecksummer:
    """The CRC-32C of each block of one stream (``core/integrity.py``, decision 32).

    It takes 50 µs for a mebibyte, without holding the GIL.
    """

    def __init__(self) -> None:
        self._complete = bytearray()
        self._checksum = 0
        self._block_bytes = 0  # of the incomplete block

    def feed(self, chunk: bytes) -> None:
        """Add the next chunk, of any size."""
        rest = memoryview(chunk)
        while rest:
            room = BLOCK_BYTES - self._block_bytes
            self._checksum = crc32c(rest[:room], self._checksum)
            self._block_bytes += len(rest[:room])
            rest = rest[room:]
            if self._block_bytes == BLOCK_BYTES:
                self._complete += self._checksum.to_bytes(CHECKSUM_BYTES)
                self._checksum = self._block_bytes = 0

    def packed(self) -> bytes:
        """The checksums of all bytes fed, 4 bytes for each block."""
        last = self._checksum.to_bytes(CHECKSUM_BYTES) if self._block_bytes else b""
        return bytes(self._complete) + last


async def gather_blocks(
    body: AsyncIterable[bytes], budget: TransferBudget, unfinished: list[bytes] | None = None
) -> AsyncGenerator[Block]:
    """Combine the chunks of a body into blocks, as they are received; none is empty.

    Received bytes count as in flight before their block is full: the sender may stall for long.
    ``unfinished``: receives the chunks of the incomplete block when the body breaks off.
    """
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async for chunk in body:
            chunks.append(chunk)
            size_bytes += len(chunk)
            budget.take(len(chunk))
            if len(chunks) >= MAX_BLOCK_CHUNKS:
                chunks = [b"".join(chunks)]
            if size_bytes >= budget.block_bytes:
                block, chunks, size_bytes = budget.lend(chunks, size_bytes), [], 0
                yield block
                del block  # a reference would keep it alive while we wait for more
        if size_bytes:
            rest_bytes, size_bytes = size_bytes, 0
            yield budget.lend(chunks, rest_bytes)
    finally:
        budget.give_back(size_bytes)
        if unfinished is not None and size_bytes:
            unfinished.extend(chunks)


async def _as_blocks(body: AsyncIterable[bytes]) -> AsyncGenerator[Block]:
    async for chunk in body:
        yield Block((chunk,), len(chunk))
