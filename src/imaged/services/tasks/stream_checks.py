"""Checks a stream that a task reads for its own use, before or without storing it.

Bytes written to a store are checked by the ingest pipeline. This module checks other streams: the
input of qemu-img, bytes with an expected digest, bytes for a deployer's checks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from imaged.core.block import Block
from imaged.core.digests import CHECKSUM, Digest
from imaged.core.disk_format import Findings
from imaged.core.errors import TaskFailed
from imaged.core.image import Content
from imaged.core.integrity import StoredContent, require_undamaged
from imaged.core.limits import require_within
from imaged.lanes import BackgroundLane, Lane, LaneFactory
from imaged.ports.import_check import ImportCheck, ImportCheckRun, ImportFacts
from imaged.ports.inspector import Inspector
from imaged.services.tasks.context import TaskContext

Feed = Callable[[bytes], None]


class StreamDigest:
    """The digests of one stream, computed in a lane."""

    def __init__(self, hash_algorithm: str, lanes: LaneFactory) -> None:
        self._hash_algorithm = hash_algorithm
        self._digests = Digest(CHECKSUM), Digest(hash_algorithm)
        self._lanes = lanes
        self._size_bytes = 0

    async def of(self, blocks: AsyncIterable[Block]) -> AsyncGenerator[Block]:
        """The same blocks; ``content`` is available after the last one."""
        async with self._lanes(self._feed, computes=True) as lane:
            async for block in blocks:
                await lane.feed(block)
                yield block
                del block  # a reference would keep it alive while we wait for more
            await lane.drain()

    def content(self) -> Content:
        """The size and digests of the stream."""
        checksum, hash_value = (digest.hexdigest() for digest in self._digests)
        return Content(self._size_bytes, checksum, self._hash_algorithm, hash_value)

    def feed(self, chunks: Sequence[bytes]) -> None:
        """Add the next chunks; for callers with their own lane."""
        self._size_bytes += sum(map(len, chunks))
        for digest in self._digests:
            digest.feed(chunks)

    def _feed(self, block: Block) -> None:
        self.feed(block.chunks)


class StreamChecks:
    """The checks of one stream. Each runs in its own lane; the results are known at the end."""

    def __init__(self, lanes: LaneFactory, max_size_bytes: int) -> None:
        self._lanes = lanes
        self._max_size_bytes = max_size_bytes
        self._feeds: list[Feed] = []
        self._verdicts: list[Callable[[], None]] = []

    def inspect(self, inspector: Inspector, judge: Callable[[Findings], None]) -> None:
        """Detect the format; ``judge`` raises if it is refused."""
        self._feeds.append(inspector.feed)
        self._verdicts.append(lambda: judge(inspector.findings()))

    def compare(self, store: str, content: Content) -> None:
        """The stream is read from a store and must match its record. Otherwise raises
        DataDamaged.
        """
        fingerprint = StreamDigest(content.hash_algorithm, self._lanes)
        self._feeds.append(lambda chunk: fingerprint.feed((chunk,)))
        self._verdicts.append(
            lambda: require_undamaged(content, StoredContent(store, fingerprint.content()))
        )

    def expect(self, algorithm: str, value: str) -> None:
        """The digest of the stream must be this one, in hexadecimal."""
        digest = Digest(algorithm)

        def judge() -> None:
            if digest.hexdigest() != value.lower():
                raise TaskFailed(
                    f"The {algorithm} of the data is {digest.hexdigest()}, but {value} was "
                    "expected: it was damaged in transit, or is another file."
                )

        self._feeds.append(lambda chunk: digest.feed((chunk,)))
        self._verdicts.append(judge)

    def check(self, checks: Iterable[ImportCheck], facts: ImportFacts) -> None:
        """The deployer's checks must accept it. An error raised by a check is an error of the
        server.
        """
        for check in checks:
            look = check.begin(facts)
            self._feeds.append(look.feed)
            self._verdicts.append(_refusing(check.name, look))

    async def of(self, body: AsyncIterable[bytes]) -> AsyncGenerator[bytes]:
        """The same chunks. Raises TooLarge, and at the end the errors of the checks."""
        received_bytes = 0
        async with AsyncExitStack() as running:
            lanes: list[Lane[bytes]] = [
                await running.enter_async_context(self._lanes(look, computes=True))
                for look in self._feeds
            ]
            async for chunk in body:
                received_bytes += len(chunk)
                require_within(received_bytes, None, self._max_size_bytes)
                for lane in lanes:
                    await lane.feed(chunk)
                yield chunk
            for lane in lanes:
                await lane.drain()
        for judge in self._verdicts:
            judge()


@dataclass(frozen=True, slots=True)
class StreamCheckFactory:
    """Creates stream checks. ``max_size_bytes`` is called for each of them."""

    max_size_bytes: Callable[[], int]
    checks: Sequence[ImportCheck] = ()
    lanes: LaneFactory = BackgroundLane

    def begin(self) -> StreamChecks:
        """Checks that only limit the size so far."""
        return StreamChecks(self.lanes, self.max_size_bytes())

    def begin_import(
        self,
        context: TaskContext,
        *,
        disk_format: str,
        properties: Mapping[str, object],
        source: str = "",
    ) -> StreamChecks:
        """Checks for bytes from outside, including those of the deployer."""
        stream_checks = self.begin()
        owner = context.image.owner
        facts = ImportFacts(
            owner=owner, disk_format=disk_format, properties=properties, source=source
        )
        stream_checks.check(self.checks, facts)
        return stream_checks


def _refusing(name: str, look: ImportCheckRun) -> Callable[[], None]:
    def judge() -> None:
        if why := look.verdict():
            raise TaskFailed(f"The check {name!r} refused the image: {why}")

    return judge
