"""A file goes up: a record is made, its bytes are sent, and what arrived is compared.

Strategy. The record comes first and has an id that this side chose, so that asking twice makes one.
When the bytes break off, only the record tells what became of them: perhaps all of them arrived
and the answer got lost; perhaps the service has not noticed yet, and holds on to the image for a
while. So it is looked at before anything is sent again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from uuid import uuid4

import anyio

from imaged.client.errors import (
    CONFLICT,
    ClientError,
    ConnectionFailed,
    DigestMismatch,
    ErrorResponse,
    ImageHasOtherData,
    PushFailed,
    TemporaryError,
)
from imaged.client.format_guess import Formats, choose_formats
from imaged.client.image_api import REPLACE_HEADER, ImageApi
from imaged.client.image_record import Record
from imaged.client.progress import Progress
from imaged.client.retry_policy import RetryPolicy
from imaged.client.upload_source import Source

STATUS_POLL_INTERVAL = timedelta(seconds=1)
RELEASE_WAIT = timedelta(minutes=3)  # a dead instance's lease, and somebody who takes over


@dataclass(frozen=True, slots=True)
class PushRequest:
    """What the image is to be."""

    attributes: Mapping[str, object]  # those that are given; formats among them
    image_id: str | None = None  # a record that is there already
    store: str | None = None
    patience: RetryPolicy = field(default_factory=RetryPolicy)
    replaces: bool = False  # another file on purpose, after an upload that broke off


@dataclass(frozen=True, slots=True)
class PushResult:
    """What came of it."""

    record: Record
    tries: int
    formats: Formats | None  # None for a record that was there already
    verified_by: str | None  # the algorithm; None where the service told no digest that is known


class RemoteState(Enum):
    """What the record says about bytes that were sent, or not."""

    COMPLETE = auto()
    WAITING_FOR_DATA = auto()
    IN_PROGRESS = auto()
    UNUSABLE = auto()


def remote_state(status: str) -> RemoteState:
    """By the status, which every Image API v2 spells alike."""
    match status:
        case "active" | "deactivated":
            return RemoteState.COMPLETE
        case "queued":
            return RemoteState.WAITING_FOR_DATA
        case "saving" | "uploading" | "importing":
            return RemoteState.IN_PROGRESS
        case _:
            return RemoteState.UNUSABLE


class Push:
    """One push."""

    def __init__(
        self, service: ImageApi, source: Source, wish: PushRequest, progress: Progress
    ) -> None:
        self._service = service
        self._source = source
        self._wish = wish
        self._progress = progress

    async def run(self) -> PushResult:
        """Do all of it.

        Raises PushFailed once there is a record, and any ClientError before; DigestMismatch.
        """
        record, formats = await self._prepare()
        self._progress.note(f"The image is {record.id}.")
        try:
            tries = 0
            if remote_state(record.status) is RemoteState.COMPLETE:
                record = await self._require_same_data(record)
            else:
                record, tries = await self._send_with_retries(record)
        except (DigestMismatch, ImageHasOtherData):
            raise
        except ClientError as error:
            raise PushFailed(
                record.id, self._source.name, error, is_another=_is_another_file(error)
            ) from error
        return PushResult(record, tries, formats, _verify(record, self._source.digests))

    async def _prepare(self) -> tuple[Record, Formats | None]:
        """The record that the bytes are for."""
        wish = self._wish
        if wish.image_id is not None:
            record = await self._service.show(wish.image_id)
            return await self._service.change(record, wish.attributes), None
        given = dict(wish.attributes)
        disk, container = (given.get(f"{kind}_format") for kind in ("disk", "container"))
        formats = choose_formats(
            await self._source.head(),
            self._source.name,
            None if disk is None else str(disk),
            None if container is None else str(container),
        )
        if formats.why:
            self._progress.note(
                f"Taken to be {formats.disk} in {formats.container}, {formats.why}; "
                "--disk-format and --container-format say otherwise."
            )
        given |= {"disk_format": formats.disk, "container_format": formats.container}
        return await self._create({"id": str(uuid4()), **given}), formats

    async def _create(self, attributes: Mapping[str, object]) -> Record:
        for pause in self._wish.patience.pauses():
            try:
                return await self._service.create(attributes)
            except (ConnectionFailed, TemporaryError) as error:
                await self._wait(error, pause)
        return await self._service.create(attributes)

    async def _send_with_retries(self, record: Record) -> tuple[Record, int]:
        pauses = self._wish.patience.pauses()
        tries = 0
        while True:
            tries += 1
            try:
                await self._send(record.id)
                return await self._service.show(record.id), tries
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
                if not self._source.is_repeatable:
                    raise

    async def _send(self, image_id: str) -> None:
        self._progress.begin(self._source.size_bytes)
        blocks = self._source.blocks(self._progress)  # who sends them also ends them
        await self._service.send(
            image_id,
            blocks,
            self._source.size_bytes,
            self._wish.store,
            replaces=self._wish.replaces,
        )

    async def _wait_until_released(self, image_id: str, cause: ClientError) -> Record:
        """The record when the service has let go of it. Raises what was the cause."""
        with anyio.move_on_after(RELEASE_WAIT.total_seconds()):
            while True:
                try:
                    record = await self._service.show(image_id)
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
        """A record with data is fine if it is this data: a push that was told to go on."""
        if not self._source.is_repeatable or record.size_bytes != self._source.size_bytes:
            raise ImageHasOtherData(record.id, record.status)
        self._progress.begin(self._source.size_bytes)
        async for _ in self._source.blocks(self._progress):
            pass
        if any(
            self._source.digests.get(algorithm) not in {None, told}
            for algorithm, told in record.digests.items()
        ):
            raise ImageHasOtherData(record.id, record.status)
        return record

    async def _wait(self, error: ClientError, pause: timedelta) -> None:
        self._progress.note(f"{error} Another try follows.")
        await anyio.sleep(pause.total_seconds())


def _is_retryable(error: ClientError, tries: int) -> bool:
    """Whether another try may do better; a conflict after a broken try is what it left."""
    if isinstance(error, ErrorResponse) and error.status == CONFLICT:
        return tries > 1
    return isinstance(error, (ConnectionFailed, TemporaryError))


def _is_another_file(error: ClientError) -> bool:
    """Whether the service says that the upload of another file had broken off before."""
    return isinstance(error, ErrorResponse) and REPLACE_HEADER in str(error)


def _verify(record: Record, sent: Mapping[str, str]) -> str | None:
    """By which digest it is certain that all is well. Raises DigestMismatch."""
    for algorithm, told in record.digests.items():
        if algorithm not in sent:
            continue
        if sent[algorithm] != told:
            raise DigestMismatch(
                record.id,
                algorithm,
                f"Delete the image {record.id}, look at the network between, and push again.",
            )
    return next((algorithm for algorithm in record.digests if algorithm in sent), None)
