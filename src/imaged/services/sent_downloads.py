"""Records the downloads that have ended, for the event image.send.

A download changes no record, so there is no transaction that its event could belong to, and a
download waits for none. Ended downloads are collected and written together, at most a second
later; an instance that is killed loses those of its last second.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import uuid4

import structlog

from imaged.core.access import Caller
from imaged.core.errors import CatalogError
from imaged.core.image import Image
from imaged.core.notification import EventType, Notification, Sent, image_sent
from imaged.ports.outbox import OutboxCatalog

log = structlog.get_logger()

MAX_COLLECTED = 10_000  # while the catalog does not answer
BATCH = 1000  # events of one transaction


@dataclass(slots=True)
class SentBytes:
    """How much of a download was sent so far."""

    count: int = 0


class SentDownloads:
    """Collects ended downloads, and writes them to the outbox."""

    def __init__(self, catalog: OutboxCatalog) -> None:
        self._catalog = catalog
        self._collected: deque[Notification] = deque()
        self.lost = 0  # since the start of the process

    @contextmanager
    def recording(self, caller: Caller, image: Image, requested_bytes: int) -> Iterator[SentBytes]:
        """Record the download that the block sends, however it ends."""
        sent = SentBytes()
        try:
            yield sent
        finally:
            if EventType.IMAGE_SEND in self._catalog.wanted_events:
                who = (caller.user, caller.project)
                what = Sent(uuid4(), image.id, image.owner, *who, sent.count, requested_bytes)
                self._collect(image_sent(what))

    async def write(self) -> None:
        """Write what was collected. Raises CatalogError; what was not written is kept then."""
        while self._collected:
            batch = [self._collected.popleft() for _ in range(min(BATCH, len(self._collected)))]
            is_written = False
            try:
                await self._catalog.add_events(batch)
                is_written = True
            finally:
                if not is_written:
                    self._collected.extendleft(reversed(batch))
                    self._drop_surplus()

    async def close(self) -> None:
        """Write what was collected, or log that it is lost."""
        try:
            await self.write()
        except CatalogError as error:
            log.error("notifications.dropped", events=len(self._collected), why=str(error))  # noqa: TRY400 - expected

    def _collect(self, notification: Notification) -> None:
        self._collected.append(notification)
        self._drop_surplus()

    def _drop_surplus(self) -> None:
        surplus = len(self._collected) - MAX_COLLECTED
        for _ in range(surplus):
            self._collected.popleft()
        if surplus > 0:
            self.lost += surplus
            log.error("notifications.dropped", events=surplus, why="the catalog does not answer")
