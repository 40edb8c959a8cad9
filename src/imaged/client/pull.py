"""Download of an image: from the start or the end of the last try; the digest is compared."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
from anyio import to_thread

from imaged.client.download_target import Target
from imaged.client.errors import (
    ConnectionFailed,
    DigestMismatch,
    ImageHasNoData,
    TemporaryError,
    UnexpectedResponse,
)
from imaged.client.image_api import ImageApi, Record
from imaged.client.transfer import Progress, retry_pauses
from imaged.core.digests import Digest


@dataclass(frozen=True, slots=True)
class PullResult:
    """The result of a pull."""

    resumed_at_bytes: int  # held from an earlier try
    tries: int
    verified_by: str | None  # the algorithm; None without a known digest


class Pull:
    """Downloads one image, with retries."""

    def __init__(self, service: ImageApi, record: Record, progress: Progress, tries: int) -> None:
        self._service = service
        self._record = record
        self._progress = progress
        self._most_tries = tries
        self._algorithm = next(iter(record.digests), None)
        self._digest = Digest(self._algorithm) if self._algorithm else None
        self._tries = 0

    async def run(self, target: Target) -> PullResult:
        """Download and verify. Raises ClientError; after DigestMismatch nothing is kept."""
        size_bytes = self._record.size_bytes
        if size_bytes is None:
            raise ImageHasNoData(self._record.id, self._record.status)
        resumed_at_bytes = target.held_bytes
        if self._digest is not None:
            await to_thread.run_sync(target.feed, self._digest)
        self._progress.begin(size_bytes, resumed_at_bytes)
        await self._fetch_with_retries(target, size_bytes)
        await self._verify(target)
        await to_thread.run_sync(target.finish)
        return PullResult(resumed_at_bytes, self._tries, self._algorithm)

    async def _fetch_with_retries(self, target: Target, size_bytes: int) -> None:
        """Fetch with retries; a try that brought bytes resets their number."""
        pauses = retry_pauses(self._most_tries)
        while target.held_bytes < size_bytes:
            self._tries += 1
            before = target.held_bytes
            try:
                await self._fetch(target, size_bytes)
            except (ConnectionFailed, TemporaryError) as error:
                if target.held_bytes > before:
                    pauses = retry_pauses(self._most_tries)
                pause = next(pauses, None)
                if pause is None:
                    raise
                self._progress.note(f"{error} Another try follows.")
                await anyio.sleep(pause.total_seconds())

    async def _fetch(self, target: Target, size_bytes: int) -> None:
        async with self._service.fetch(self._record.id, target.held_bytes) as chunks:
            async for chunk in chunks:
                if target.held_bytes + len(chunk) > size_bytes:
                    raise UnexpectedResponse(f"More than {size_bytes} bytes arrived.")
                await to_thread.run_sync(self._take, target, chunk)
                self._progress.advance(len(chunk))
        if target.held_bytes < size_bytes:
            raise ConnectionFailed("The data ended too early.")

    def _take(self, target: Target, chunk: bytes) -> None:
        """Hash and write a chunk; runs in a thread, because both block."""
        if self._digest is not None:
            self._digest.feed(chunk)
        target.write(chunk)

    async def _verify(self, target: Target) -> None:
        if self._digest is None or self._algorithm is None:
            return
        if self._digest.hexdigest() != self._record.digests[self._algorithm]:
            await to_thread.run_sync(target.discard)
            raise DigestMismatch(
                self._record.id,
                self._algorithm,
                "Nothing was kept. Pull again; if it happens again, check the store and the "
                "network.",
            )
