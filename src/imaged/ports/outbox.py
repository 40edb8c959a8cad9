"""The part of the catalog that keeps events until they are delivered (``core/outbox.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from imaged.core.notification import Notification, WantedEvents
from imaged.core.outbox import DeliveryResult, OutboxEvent


class OutboxCatalog(Protocol):
    """Events that wait for the receiver.

    Every change of an image or a task writes its events (``core/notification.py``) in its own
    transaction, those of ``wanted_events`` alone: so an event waits exactly if its change was
    committed. Without wanted events nothing is written.
    """

    wanted_events: WantedEvents

    async def add_events(self, notifications: Sequence[Notification]) -> None:
        """Add events of what changes no record, such as downloads; those that are wanted."""
        ...

    async def take_events(
        self, limit: int, per_queue: int, busy_for: timedelta
    ) -> Sequence[Sequence[OutboxEvent]]:
        """Take at most ``limit`` queues that are due, the longest due first: of each its first
        events, at most ``per_queue``.

        A taken queue is not returned to any other caller for ``busy_for``, or until
        ``settle_events`` has all of its returned events, or its first one as failed or untried.
        """
        ...

    async def settle_events(self, result: DeliveryResult) -> None:
        """Record what became of taken events. Ignores events that are gone."""
        ...

    async def drop_events(
        self, keep: timedelta, max_events: int, limit: int
    ) -> Sequence[OutboxEvent]:
        """Remove at most ``limit`` events, the oldest first: those that have waited for ``keep``,
        and all but the newest ``max_events``. Returns them.
        """
        ...

    async def list_events(self, limit: int) -> Sequence[OutboxEvent]:
        """The oldest events, without taking them."""
        ...
