"""The stages that a body passes on its way into a store: limits, digests, inspection.

Each digest, and the inspection, has its own lane. The result is known at the end of the bytes,
before the store commits them: ``check`` raises at its end if the bytes are not acceptable. Bytes
that were stored before are compared with their record, so that a copy of damaged data is not
mistaken for good data.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import anyio

from imaged.core.block import Block
from imaged.core.broken_upload import RetryDigest
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.disk_format import (
    Findings,
    FormatPolicy,
    is_inspected,
    notice_of,
    require_declared,
)
from imaged.core.errors import FormatRefused, RetryMismatch, SizeMismatch
from imaged.core.image import BrokenUpload, Content, Image
from imaged.core.integrity import StoredContent, require_undamaged
from imaged.core.limits import require_complete, require_within
from imaged.lanes import Lane, LaneFactory
from imaged.ports.inspector import Inspector, InspectorFactory
from imaged.services.block_checksummer import BlockChecksummer

LAST_BYTES_SECONDS = 5  # timeout for the digest of a broken body


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """The requirements for every body."""

    max_size_bytes: int
    hash_algorithm: str
    formats: FormatPolicy
    remembers_broken: bool  # whether a broken body is compared with the next one


@dataclass(frozen=True, slots=True)
class StoredSource:
    """The location of a body that was stored before, and its record."""

    store: str
    content: Content


class IngestPipeline:
    """The stages of one body; open while it is received."""

    def __init__(
        self,
        image: Image,
        announced_bytes: int | None,
        settings: IngestSettings,
        inspector: InspectorFactory,
        lanes: LaneFactory,
        *,
        policy: Callable[[], FormatPolicy] | None = None,
        source: StoredSource | None = None,
        before: BrokenUpload | None = None,
    ) -> None:
        """Nothing is read yet.

        ``policy``: called when the result is due, which may be hours later. ``before``: the record
        of a broken upload; None: nothing is recorded.
        """
        self._image = image
        self._source = source
        self._announced_bytes = announced_bytes if source is None else None  # compared in full
        self._settings = settings
        self._policy = policy or (lambda: settings.formats)
        self._make_lane = lanes
        self._retry = None if before is None else RetryDigest(before, announced_bytes)
        self._checksum = self._retry or Digest(CHECKSUM)
        self._hash = Digest(settings.hash_algorithm)
        self._block_checksums = BlockChecksummer()
        self._inspector: Inspector | None = None
        if is_inspected(image.container_format or ""):
            self._inspector = inspector()
        self._received_bytes = 0
        self._virtual_size_bytes: int | None = None
        self._notice: str | None = None
        self._lanes: list[Lane[Block]] = []
        self._open = AsyncExitStack()
        self.unfinished: list[bytes] = []  # of a block that was incomplete when the body broke off

    async def __aenter__(self) -> Self:
        for work in (self._feed_checksum, self._feed_hash):
            lane = self._make_lane(work, computes=True)
            self._lanes.append(await self._open.enter_async_context(lane))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self._retry is not None:
            await self._feed_unfinished()
        await self._open.__aexit__(kind, error, traceback)

    async def check(self, blocks: AsyncIterable[Block]) -> AsyncGenerator[Block]:
        """Pass the blocks on. Raises DataRefused and DataDamaged, at their end at the latest."""
        async for block in blocks:
            self._received_bytes += block.size_bytes
            limit = self._settings.max_size_bytes
            with self._distrusting_length():
                require_within(self._received_bytes, self._announced_bytes, limit)
            for lane in self._lanes:
                await lane.feed(block)
            yield block
            del block  # a reference would keep it alive while we wait for more
        for lane in self._lanes:
            await lane.drain()
        with self._distrusting_length():
            require_complete(self._received_bytes, self._announced_bytes)
        if self._retry is not None:
            self._retry.require_whole()
        if self._source is not None:
            require_undamaged(
                self._source.content, StoredContent(self._source.store, self.content())
            )
        self._judge()

    @property
    def remembered(self) -> BrokenUpload | None:
        """The record for the image if the body breaks off now."""
        return None if self._retry is None else self._retry.remembered

    async def catch_up(self) -> None:
        """Wait until all received bytes are in ``remembered``. Raises RetryMismatch."""
        await self._lanes[0].drain()

    def content(self) -> Content:
        """The content of the image, after all bytes have passed."""
        return Content(
            size_bytes=self._received_bytes,
            checksum=self._checksum.hexdigest(),
            hash_algorithm=self._settings.hash_algorithm,
            hash_value=self._hash.hexdigest(),
            virtual_size_bytes=self._virtual_size_bytes,
            notice=self._notice,
            block_checksums=self._block_checksums.packed(),
        )

    def _feed_checksum(self, block: Block) -> None:
        self._checksum.feed(block.chunks)

    def _feed_hash(self, block: Block) -> None:
        """The inspection and the block checksums cost little, so they share the lane."""
        self._hash.feed(block.chunks)
        self._block_checksums.feed(block.chunks)
        if self._inspector is not None:
            for chunk in block.chunks:
                self._inspector.feed(chunk)

    async def _feed_unfinished(self) -> None:
        """Add the incomplete last block of a broken body to the digest."""
        with anyio.move_on_after(LAST_BYTES_SECONDS, shield=True), suppress(RetryMismatch):
            if self.unfinished:
                await self._lanes[0].feed(Block(self.unfinished))
            await self.catch_up()

    @contextmanager
    def _distrusting_length(self) -> Iterator[None]:
        try:
            yield
        except SizeMismatch:
            if self._retry is not None:
                self._retry.distrust_length()
            raise

    def _judge(self) -> None:
        findings = None if self._inspector is None else self._inspector.findings()
        if findings is not None:
            self._require_declared(findings)
            self._virtual_size_bytes = findings.virtual_size_bytes
        self._notice = notice_of(
            self._image.disk_format or "",
            self._received_bytes,
            None if findings is None else findings.lookalike,
            self._image.properties,
        )

    def _require_declared(self, findings: Findings) -> None:
        if not self._received_bytes:  # an empty body has no format
            return
        try:
            require_declared(self._image.disk_format or "", findings, self._policy())
        except FormatRefused:
            if self._retry is not None:
                self._retry.reject()
            raise
