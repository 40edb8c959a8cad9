"""The checks of a body on its way into a store: limits, digests, inspection.

The result is known at the end of the bytes, before the store commits them. Bytes that were stored
before are compared with their record, so that a copy of damaged data is not mistaken for good data.
The checksum of an upload after a broken one shows whether it is the same file.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import anyio

from imaged.core.block import Block, Blocks
from imaged.core.broken_upload import RetryDigest
from imaged.core.digests import CHECKSUM
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
from imaged.core.limits import SMALL_BODY_BYTES
from imaged.lanes import InlineLane, Lane, LaneFactory
from imaged.ports.disk_image import InspectorFactory
from imaged.services.stream_checks import StreamChecks

LAST_BYTES_SECONDS = 5  # timeout for the digest of a broken body


@dataclass(frozen=True, slots=True, kw_only=True)
class IngestSettings:
    """The requirements for every body."""

    max_size_bytes: int
    hash_algorithm: str
    checksum: Literal["md5", "none"]  # whether images have one
    formats: FormatPolicy
    remembers_broken: bool  # whether a broken body is compared with the next one
    wait_for_space: timedelta  # how long a body of unknown length waits for its next step


@dataclass(frozen=True, slots=True)
class StoredSource:
    """The location of a body that was stored before, and its record."""

    store: str
    content: Content


class IngestPipeline:
    """The checks of one body, ``running`` while it is received."""

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
        self._policy = policy or (lambda: settings.formats)
        has_checksum, hash_algorithm = settings.checksum != "none", settings.hash_algorithm
        if source is not None and (source.content.checksum is None or not has_checksum):
            hash_algorithm = source.content.hash_algorithm  # so that there is one to compare
        self._retry = None
        if before is not None:
            algorithm = CHECKSUM if has_checksum else hash_algorithm
            self._retry = RetryDigest(before, announced_bytes, algorithm)
        self._inspector = inspector() if is_inspected(image.container_format or "") else None
        self._virtual_size_bytes: int | None = None
        self._notice: str | None = None
        self.unfinished: list[bytes] = []  # of a block that was incomplete when the body broke off
        if announced_bytes is not None and announced_bytes <= SMALL_BODY_BYTES:
            lanes = InlineLane
        announced_bytes = announced_bytes if source is None else None  # compared in full
        self._checks = StreamChecks(lanes, settings.max_size_bytes, announced_bytes)
        inspection = [] if self._inspector is None else [self._inspector]
        self._digests = self._checks.digest(
            hash_algorithm, *inspection, with_checksum=has_checksum, retry=self._retry
        )
        self._checks.at_end(self._judge)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Keep the lanes open during the block, in which the body is received.

        If the block fails, what was received of an incomplete block is remembered, too.
        """
        async with self._checks.running():
            try:
                yield
            except BaseException as error:
                if self._retry is not None:
                    if isinstance(error, SizeMismatch):
                        self._retry.distrust_length()
                    await self._feed_unfinished()
                raise

    def check(self, blocks: Blocks) -> AsyncGenerator[Block]:
        """The same blocks. Raises DataRefused and DataDamaged, at their end at the latest."""
        return self._checks.of(blocks)

    @property
    def remembered(self) -> BrokenUpload | None:
        """The record for the image if the body breaks off now."""
        return None if self._retry is None else self._retry.remembered(*self._digests.so_far)

    async def catch_up(self) -> None:
        """Wait until all received bytes are in ``remembered``. Raises RetryMismatch."""
        await self._retry_lane.drain()

    def content(self) -> Content:
        """The content of the image, after all bytes have passed."""
        return replace(
            self._digests.content(),
            virtual_size_bytes=self._virtual_size_bytes,
            notice=self._notice,
        )

    @property
    def _retry_lane(self) -> Lane[Block]:
        return self._checks.lanes[self._digests.retry_lane]

    async def _feed_unfinished(self) -> None:
        """Add the incomplete last block of a broken body to the digest."""
        with anyio.move_on_after(LAST_BYTES_SECONDS, shield=True), suppress(RetryMismatch):
            if self.unfinished:
                await self._retry_lane.feed(Block(self.unfinished))
            await self.catch_up()

    def _judge(self) -> None:
        if self._retry is not None:
            self._retry.require_whole(self._checks.received_bytes)
        if self._source is not None:
            require_undamaged(
                self._source.content, StoredContent(self._source.store, self.content())
            )
        findings = None if self._inspector is None else self._inspector.findings()
        if findings is not None:
            self._require_declared(findings)
            self._virtual_size_bytes = findings.virtual_size_bytes
        self._notice = notice_of(
            self._image.disk_format or "",
            self._checks.received_bytes,
            None if findings is None else findings.lookalike,
            self._image.properties,
        )

    def _require_declared(self, findings: Findings) -> None:
        if not self._checks.received_bytes:  # an empty body has no format
            return
        try:
            require_declared(self._image.disk_format or "", findings, self._policy())
        except FormatRefused:
            if self._retry is not None:
                self._retry.reject()
            raise
