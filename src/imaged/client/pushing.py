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
    Busy,
    ClientError,
    ConnectionFailed,
    DigestDiffers,
    HasOtherData,
    PushFailed,
    Refused,
)
from imaged.client.formats import Formats, choose_formats
from imaged.client.progress import Progress
from imaged.client.record import Record
from imaged.client.retries import Patience
from imaged.client.service import REPLACE_HEADER, Service
from imaged.client.source import Source

LOOK_AGAIN = timedelta(seconds=1)
GIVE_BACK_WITHIN = timedelta(minutes=3)  # a dead instance's lease, and somebody who takes over


@dataclass(frozen=True, slots=True)
class Wish:
    """What the image is to be."""

    attributes: Mapping[str, object]  # those that are given; formats among them
    image_id: str | None = None  # a record that is there already
    store: str | None = None
    patience: Patience = field(default_factory=Patience)
    replaces: bool = False  # another file on purpose, after an upload that broke off


@dataclass(frozen=True, slots=True)
class Pushed:
    """What came of it."""

    record: Record
    tries: int
    formats: Formats | None  # None for a record that was there already
    verified_by: str | None  # the algorithm; None where the service told no digest that is known


class Outlook(Enum):
    """What the record says about bytes that were sent, or not."""

    ARRIVED = auto()
    WANTED = auto()
    UNDER_WAY = auto()
    HOPELESS = auto()


def outlook(status: str) -> Outlook:
    """By the status, which every Image API v2 spells alike."""
    match status:
        case "active" | "deactivated":
            return Outlook.ARRIVED
        case "queued":
            return Outlook.WANTED
        case "saving" | "uploading" | "importing":
            return Outlook.UNDER_WAY
        case _:
            return Outlook.HOPELESS


class Push:
    """One push."""

    def __init__(self, service: Service, source: Source, wish: Wish, progress: Progress) -> None:
        self._service = service
        self._source = source
        self._wish = wish
        self._progress = progress

    async def run(self) -> Pushed:
        """Do all of it.

        Raises PushFailed once there is a record, and any ClientError before; DigestDiffers.
        """
        record, formats = await self._prepare()
        self._progress.note(f"The image is {record.id}.")
        try:
            tries = 0
            if outlook(record.status) is Outlook.ARRIVED:
                record = await self._compare_first(record)
            else:
                record, tries = await self._send_until_arrived(record)
        except (DigestDiffers, HasOtherData):
            raise
        except ClientError as error:
            raise PushFailed(
                record.id, self._source.name, error, is_another=_is_another_file(error)
            ) from error
        return Pushed(record, tries, formats, _verify(record, self._source.digests))

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
            except (ConnectionFailed, Busy) as error:
                await self._wait(error, pause)
        return await self._service.create(attributes)

    async def _send_until_arrived(self, record: Record) -> tuple[Record, int]:
        pauses = self._wish.patience.pauses()
        tries = 0
        while True:
            tries += 1
            try:
                await self._send(record.id)
                return await self._service.show(record.id), tries
            except (ConnectionFailed, Refused) as error:
                if not _is_passing(error, tries):
                    raise
                pause = next(pauses, None)
                if pause is None:
                    raise
                await self._wait(error, pause)
                record = await self._look(record.id, error)
                if outlook(record.status) is Outlook.ARRIVED:
                    return record, tries
                if not self._source.can_repeat:
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

    async def _look(self, image_id: str, cause: ClientError) -> Record:
        """The record when the service has let go of it. Raises what was the cause."""
        with anyio.move_on_after(GIVE_BACK_WITHIN.total_seconds()):
            while True:
                try:
                    record = await self._service.show(image_id)
                except (ConnectionFailed, Busy):
                    await anyio.sleep(LOOK_AGAIN.total_seconds())
                    continue
                match outlook(record.status):
                    case Outlook.UNDER_WAY:
                        await anyio.sleep(LOOK_AGAIN.total_seconds())
                    case Outlook.HOPELESS:
                        raise cause
                    case _:
                        return record
        raise cause

    async def _compare_first(self, record: Record) -> Record:
        """A record with data is fine if it is this data: a push that was told to go on."""
        if not self._source.can_repeat or record.size_bytes != self._source.size_bytes:
            raise HasOtherData(record.id, record.status)
        self._progress.begin(self._source.size_bytes)
        async for _ in self._source.blocks(self._progress):
            pass
        if any(
            self._source.digests.get(algorithm) not in {None, told}
            for algorithm, told in record.digests.items()
        ):
            raise HasOtherData(record.id, record.status)
        return record

    async def _wait(self, error: ClientError, pause: timedelta) -> None:
        self._progress.note(f"{error} Another try follows.")
        await anyio.sleep(pause.total_seconds())


def _is_passing(error: ClientError, tries: int) -> bool:
    """Whether another try may do better; a conflict after a broken try is what it left."""
    if isinstance(error, Refused) and error.status == CONFLICT:
        return tries > 1
    return isinstance(error, (ConnectionFailed, Busy))


def _is_another_file(error: ClientError) -> bool:
    """Whether the service says that the upload of another file had broken off before."""
    return isinstance(error, Refused) and REPLACE_HEADER in str(error)


def _verify(record: Record, sent: Mapping[str, str]) -> str | None:
    """By which digest it is certain that all is well. Raises DigestDiffers."""
    for algorithm, told in record.digests.items():
        if algorithm not in sent:
            continue
        if sent[algorithm] != told:
            raise DigestDiffers(
                record.id,
                algorithm,
                f"Delete the image {record.id}, look at the network between, and push again.",
            )
    return next((algorithm for algorithm in record.digests if algorithm in sent), None)
