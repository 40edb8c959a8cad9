"""Upload of a file: create the record, send the bytes, compare the digests.

The record comes first, with an id that the client chose, so that a repeated call creates one image.
After a broken upload only the record has the result: perhaps all bytes arrived and the answer got
lost; perhaps the service has not noticed the break, and still holds the image. So the client reads
the record before it sends again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from uuid import uuid4

import anyio

from imaged.client.errors import (
    CONFLICT,
    UNSUPPORTED_MEDIA_TYPE,
    ClientError,
    ConnectionFailed,
    DigestMismatch,
    ErrorResponse,
    ImageHasOtherData,
    PushFailed,
    TemporaryError,
)
from imaged.client.image_api import ImageApi, Record
from imaged.client.transfer import DEFAULT_TRIES, Progress, retry_pauses
from imaged.client.upload_source import Formats, Source, choose_formats, recognize
from imaged.core.attributes import REPLACE_HEADER

STATUS_POLL_INTERVAL = timedelta(seconds=1)
RELEASE_WAIT = timedelta(minutes=3)  # the lease of a dead instance, and the takeover


@dataclass(frozen=True, slots=True)
class PushRequest:
    """The wanted image, and how to push it."""

    attributes: Mapping[str, object]  # the given ones, formats included
    image_id: str | None = None  # an existing record
    store: str | None = None
    tries: int = DEFAULT_TRIES
    replaces: bool = False  # another file on purpose, after a broken upload


@dataclass(frozen=True, slots=True)
class PushResult:
    """The result of a push."""

    record: Record
    tries: int
    formats: Formats | None  # None for an existing record
    verified_by: str | None  # the algorithm; None without a known digest


class RemoteState(Enum):
    """The state of the image's data, by its record."""

    COMPLETE = auto()
    WAITING_FOR_DATA = auto()
    IN_PROGRESS = auto()
    UNUSABLE = auto()


def remote_state(status: str) -> RemoteState:
    """The state for a status of the Image API v2."""
    match status:
        case "active" | "deactivated":
            return RemoteState.COMPLETE
        case "queued":
            return RemoteState.WAITING_FOR_DATA
        case "saving" | "uploading" | "importing":
            return RemoteState.IN_PROGRESS
        case _:
            return RemoteState.UNUSABLE


@dataclass(frozen=True, slots=True)
class Push:
    """Uploads one source, with retries."""

    service: ImageApi
    source: Source
    wish: PushRequest
    progress: Progress

    async def run(self) -> PushResult:
        """Create, send and verify.

        Raises PushFailed if the record exists, any ClientError before; DigestMismatch.
        """
        record, formats = await self._prepare()
        self.progress.note(f"The image is {record.id}.")
        try:
            tries = 0
            if remote_state(record.status) is RemoteState.COMPLETE:
                record = await self._require_same_data(record)
            else:
                record, tries = await self._send_with_retries(record)
        except (DigestMismatch, ImageHasOtherData):
            raise
        except ClientError as error:
            retry = await self._way_to_retry(record, error)
            raise PushFailed(record.id, self.source.name, error, retry) from error
        return PushResult(record, tries, formats, _verify(record, self.source.digests))

    async def _prepare(self) -> tuple[Record, Formats | None]:
        """The record for the bytes: an existing or a new one."""
        wish = self.wish
        if wish.image_id is not None:
            record = await self.service.show(wish.image_id)
            return await self.service.change(record, wish.attributes), None
        given = dict(wish.attributes)
        disk, container = (given.get(f"{kind}_format") for kind in ("disk", "container"))
        formats = choose_formats(
            await self.source.head(),
            self.source.name,
            None if disk is None else str(disk),
            None if container is None else str(container),
        )
        if formats.why and container is None:
            self.progress.note(
                f"Taken to be {formats.disk} in {formats.container}, {formats.why}; "
                "--disk-format and --container-format override this."
            )
        elif formats.why:
            self.progress.note(
                f"Taken to be {formats.disk}, {formats.why}; --disk-format overrides this."
            )
        given |= {"disk_format": formats.disk, "container_format": formats.container}
        return await self._create({"id": str(uuid4()), **given}), formats

    async def _create(self, attributes: Mapping[str, object]) -> Record:
        for pause in retry_pauses(self.wish.tries):
            try:
                return await self.service.create(attributes)
            except (ConnectionFailed, TemporaryError) as error:
                await self._wait(error, pause)
        return await self.service.create(attributes)

    async def _send_with_retries(self, record: Record) -> tuple[Record, int]:
        pauses = retry_pauses(self.wish.tries)
        tries = 0
        while True:
            tries += 1
            try:
                await self._send(record.id)
                return await self.service.show(record.id), tries
            except (ConnectionFailed, ErrorResponse) as error:
                if not _is_retryable(error, tries):
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise
                await self._wait(error, pause)
                record = await self._wait_until_released(record.id, error)
                if remote_state(record.status) is RemoteState.COMPLETE:
                    return record, tries
                if not self.source.is_repeatable:
                    raise

    async def _send(self, image_id: str) -> None:
        self.progress.begin(self.source.size_bytes)
        blocks = self.source.blocks(self.progress)  # the sender closes the generator
        await self.service.send(
            image_id,
            blocks,
            self.source.size_bytes,
            self.wish.store,
            replaces=self.wish.replaces,
        )

    async def _wait_until_released(self, image_id: str, cause: ClientError) -> Record:
        """The record once the service has released it; after a timeout raises the cause."""
        with anyio.move_on_after(RELEASE_WAIT.total_seconds()):
            while True:
                try:
                    record = await self.service.show(image_id)
                except (ConnectionFailed, TemporaryError):
                    await anyio.sleep(STATUS_POLL_INTERVAL.total_seconds())
                    continue
                match remote_state(record.status):
                    case RemoteState.IN_PROGRESS:
                        await anyio.sleep(STATUS_POLL_INTERVAL.total_seconds())
                    case RemoteState.UNUSABLE:
                        raise cause
                    case _:
                        return record
        raise cause

    async def _require_same_data(self, record: Record) -> Record:
        """Require that the existing data equals the source, so that there is nothing to send."""
        if not self.source.is_repeatable or record.size_bytes != self.source.size_bytes:
            raise ImageHasOtherData(record.id, record.status)
        self.progress.begin(self.source.size_bytes)
        async for _ in self.source.blocks(self.progress):
            pass
        common = record.digests.keys() & self.source.digests.keys()
        if not common or any(self.source.digests[one] != record.digests[one] for one in common):
            raise ImageHasOtherData(record.id, record.status)
        return record

    async def _way_to_retry(self, record: Record, error: ClientError) -> tuple[str, str]:
        """What to do after a failure, and the options for another try: not the same mistake."""
        if not isinstance(error, ErrorResponse) or isinstance(error, TemporaryError):
            return "The image waits for another try", ""
        if REPLACE_HEADER in str(error):  # the broken upload was of another file
            return "To send this file instead of that one", " --replace"
        if error.status == UNSUPPORTED_MEDIA_TYPE:
            found = recognize(await self.source.head(), self.source.name)
            if found is not None and found.disk != record.all.get("disk_format"):
                return f"To send it as {found.disk}", f" --disk-format {found.disk}"
        return "When that is corrected", ""

    async def _wait(self, error: ClientError, pause: timedelta) -> None:
        self.progress.note(f"{error} Another try follows.")
        await anyio.sleep(pause.total_seconds())


def _is_retryable(error: ClientError, tries: int) -> bool:
    """Whether to retry; a conflict after a broken try is a leftover of that try."""
    if isinstance(error, ErrorResponse) and error.status == CONFLICT:
        return tries > 1
    return isinstance(error, (ConnectionFailed, TemporaryError))


def _verify(record: Record, sent: Mapping[str, str]) -> str | None:
    """The digest that was compared, or None. Raises DigestMismatch."""
    for algorithm, told in record.digests.items():
        if algorithm not in sent:
            continue
        if sent[algorithm] != told:
            raise DigestMismatch(
                record.id,
                algorithm,
                f"Delete the image {record.id}, check the network, and push again.",
            )
    return next((algorithm for algorithm in record.digests if algorithm in sent), None)
