"""The calls of an SQL catalog for the outbox (``ports/outbox.py``); each is one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from imaged.catalogs import outbox
from imaged.catalogs.database import Database
from imaged.core.notification import Notification, WantedEvents
from imaged.core.outbox import DeliveryResult, OutboxEvent


class SqlOutbox:
    """Keeps events until they are delivered. ``wanted_events`` may be replaced at run time."""

    database: Database
    wanted_events: WantedEvents = frozenset()

    async def add_events(self, notifications: Sequence[Notification]) -> None:
        """Add events that belong to no change of a record."""
        wanted = self.wanted_events
        add = partial(outbox.add_unordered, wanted=wanted, notifications=notifications)
        await self.database.write(add)

    async def take_events(
        self, limit: int, per_queue: int, busy_for: timedelta
    ) -> Sequence[Sequence[OutboxEvent]]:
        """Take the first events of at most ``limit`` queues that are due, the longest first."""
        take = partial(outbox.take, limit=limit, per_queue=per_queue, busy_for=busy_for)
        return await self.database.write(take)

    async def settle_events(self, result: DeliveryResult) -> None:
        """Record what became of events that were taken."""
        await self.database.write(partial(outbox.settle, result=result))

    async def drop_events(
        self, keep: timedelta, max_events: int, limit: int
    ) -> Sequence[OutboxEvent]:
        """Remove the oldest events that are too old or too many; returns them."""
        drop = partial(outbox.drop, keep=keep, max_events=max_events, limit=limit)
        return await self.database.write(drop)

    async def list_events(self, limit: int) -> Sequence[OutboxEvent]:
        """The oldest events, without taking them."""
        return await self.database.read(partial(outbox.list_events, limit=limit))
