"""The outbox of the catalog in memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from anyio.lowlevel import checkpoint

from imaged.core.clock import CLOCK_TOLERANCE
from imaged.core.notification import Notification, WantedEvents
from imaged.core.outbox import LONGEST_WAIT, DeliveryResult, OutboxCount, OutboxEvent
from imaged.testing.memory_timestamps import Clock


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event, and when it is due."""

    event: OutboxEvent
    due_at: datetime


def redate_event(waiting: WaitingEvent, now: datetime) -> WaitingEvent:
    """An event that was added, or that is due, in the future."""
    if waiting.event.created_at > now + CLOCK_TOLERANCE:
        return WaitingEvent(replace(waiting.event, created_at=now), now)
    is_ahead = waiting.due_at > now + LONGEST_WAIT + CLOCK_TOLERANCE
    return replace(waiting, due_at=now) if is_ahead else waiting


class MemoryOutbox:
    """Events by id, in the order of their changes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.wanted_events: WantedEvents = frozenset()
        self.outbox: dict[UUID, WaitingEvent] = {}

    async def add_events(self, notifications: Sequence[Notification]) -> None:
        """Add events that belong to no change of a record."""
        await checkpoint()
        self._add_events(notifications, self._clock.now())

    async def take_events(
        self, limit: int, per_queue: int, busy_for: timedelta
    ) -> Sequence[Sequence[OutboxEvent]]:
        """Take the first events of at most ``limit`` queues that are due, the longest first."""
        await checkpoint()
        now = self._clock.now()
        queues = list(self._queues().values())
        due = sorted(queues, key=lambda events: (events[0].due_at, events[0].event.id))
        taken = [events for events in due if events[0].due_at <= now][:limit]
        for head, *_ in taken:
            self.outbox[head.event.id] = replace(head, due_at=now + busy_for)
        return [[waiting.event for waiting in events[:per_queue]] for events in taken]

    async def settle_events(self, result: DeliveryResult) -> None:
        """Record what became of events that were taken."""
        await checkpoint()
        now = self._clock.now()
        for event_id in result.accepted:
            self.outbox.pop(event_id, None)
        for event_id in result.untried:
            if (waiting := self.outbox.get(event_id)) is not None:
                self.outbox[event_id] = replace(waiting, due_at=now)
        for failed in result.failed:
            if (waiting := self.outbox.get(failed.id)) is not None:
                failures = waiting.event.failures + 1
                event = replace(waiting.event, failures=failures, last_error=failed.why)
                self.outbox[failed.id] = WaitingEvent(event, now + failed.pause)

    async def drop_events(
        self, keep: timedelta, max_events: int, limit: int
    ) -> Sequence[OutboxEvent]:
        """Remove the oldest events that are too old or too many; returns them."""
        await checkpoint()
        oldest = self._oldest()
        latest = self._clock.now() - keep
        if len(oldest) > max_events:
            latest = max(latest, oldest[len(oldest) - max_events - 1].created_at)
        dropped = [event for event in oldest if event.created_at <= latest][:limit]
        for event in dropped:
            del self.outbox[event.id]
        return dropped

    async def list_events(self, limit: int) -> Sequence[OutboxEvent]:
        """The oldest events, without taking them."""
        await checkpoint()
        return self._oldest()[:limit]

    def _add_events(self, notifications: Iterable[Notification], now: datetime) -> None:
        for notification in notifications:
            if notification.type in self.wanted_events:
                event = OutboxEvent(uuid4(), notification, now)
                self.outbox[event.id] = WaitingEvent(event, now)

    def _queues(self) -> dict[str, list[WaitingEvent]]:
        queues: dict[str, list[WaitingEvent]] = {}
        for waiting in self.outbox.values():
            queues.setdefault(waiting.event.notification.queue, []).append(waiting)
        return queues

    def _oldest(self) -> list[OutboxEvent]:
        events = [waiting.event for waiting in self.outbox.values()]
        return sorted(events, key=lambda event: (event.created_at, event.id))

    def _count_events(self) -> OutboxCount:
        events = self._oldest()
        failing = sum(event.failures > 0 for event in events)
        return OutboxCount(len(events), failing, events[0].created_at if events else None)
