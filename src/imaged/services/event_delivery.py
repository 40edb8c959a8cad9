"""Sends the events of the outbox to the receiver, at least once, and each queue in its order.

Instances share the outbox: one that has taken a queue hides it from the others for longer than its
requests can last. Queues are sent beside each other, the events of one queue one after the other.
While the receiver does not answer, a single event is tried after growing pauses.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol
from uuid import UUID

import anyio
import structlog

from imaged.core.errors import EventRefused, ReceiverError
from imaged.core.outbox import (
    EVENT_RETRIES,
    LONGEST_WAIT,
    RECEIVER_RETRIES,
    DeliveryResult,
    FailedDelivery,
    OutboxEvent,
)
from imaged.ports.catalog import PlaceCatalog
from imaged.ports.event_receiver import EventConnection, EventReceiver
from imaged.ports.meter import Meter, Timing, ignore_measurement
from imaged.ports.outbox import OutboxCatalog
from imaged.services.clock_guard import ClockGuard

log = structlog.get_logger()

EVENTS_PER_QUEUE = 16  # taken of one queue: so many are sent twice if an instance is killed
DROP_BATCH = 100
DROP_INTERVAL_SECONDS = 60.0
MAX_SUBJECTS_LOGGED = 20


class DeliveryCatalog(OutboxCatalog, PlaceCatalog, Protocol):
    """The outbox, and the id of the catalog."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """The limits of deliveries."""

    timeout: timedelta  # of one request
    keep: timedelta  # how long an event is tried
    max_waiting: int  # events
    concurrency: int  # queues that are sent beside each other

    @property
    def busy_for(self) -> timedelta:
        """How long a taken queue is hidden: no request to the receiver lasts until its end."""
        return 3 * self.timeout


@dataclass(slots=True)
class _Round:
    """What was taken together, and what became of it. ``ends_at``: when no more are sent."""

    queues: Sequence[Sequence[OutboxEvent]]
    ends_at: float
    accepted: list[UUID] = field(default_factory=list)
    failed: list[FailedDelivery] = field(default_factory=list)
    outage: ReceiverError | None = None

    @property
    def is_over(self) -> bool:
        return self.outage is not None or anyio.current_time() >= self.ends_at

    @property
    def result(self) -> DeliveryResult:
        told = {*self.accepted, *(one.id for one in self.failed)}
        untried = [first.id for first, *_ in self.queues if first.id not in told]
        return DeliveryResult(self.accepted, self.failed, untried)


class EventDelivery:
    """Delivers what is due, once there is a receiver. ``settings`` may be replaced at run time."""

    def __init__(
        self,
        catalog: DeliveryCatalog,
        settings: DeliverySettings,
        clock: ClockGuard,
        meter: Meter = ignore_measurement,
    ) -> None:
        self._catalog = catalog
        self._clock = clock
        self._meter = meter
        self._outages = 0  # in a row
        self._resumes_at = 0.0  # by the event loop's clock; earlier nothing is sent
        self._drops_at = 0.0
        self._last_error = ""
        self._receiver: EventReceiver | None = None
        self.settings = settings
        self.dropped = 0  # events, since the start of the process

    @property
    def troubles(self) -> Sequence[str]:
        """Why events wait, as a sentence for operators; empty if none does."""
        return [f"notifications: {self._last_error}"] if self._last_error else []

    def replace_receiver(self, receiver: EventReceiver | None) -> None:
        """Send to this one from now on; it is not known to fail. None: send nothing."""
        self._receiver = receiver
        self._outages, self._resumes_at, self._last_error = 0, 0.0, ""

    async def run_due(self) -> None:
        """Send all that is due; drop what is too old. Raises CatalogError."""
        await self._drop_old()
        receiver = self._receiver
        if receiver is None or anyio.current_time() < self._resumes_at:
            return
        queues = await self._take()
        if not queues:
            return
        async with receiver.connect(await self._catalog.get_id()) as connection:
            while queues:
                current = await self._send_queues(connection, queues)
                if receiver is not self._receiver:  # replaced meanwhile: the next round is for that
                    return
                self._note_round(current)
                queues = [] if self._outages else await self._take()

    async def _take(self) -> Sequence[Sequence[OutboxEvent]]:
        settings = self.settings
        if self._outages:
            return await self._catalog.take_events(1, 1, settings.busy_for)
        return await self._catalog.take_events(
            settings.concurrency, EVENTS_PER_QUEUE, settings.busy_for
        )

    async def _send_queues(
        self, connection: EventConnection, queues: Sequence[Sequence[OutboxEvent]]
    ) -> _Round:
        """Send queues beside each other, and record the result, also of a job that is stopped."""
        ends_at = anyio.current_time() + self.settings.timeout.total_seconds()
        current = _Round(queues, ends_at)
        try:
            async with anyio.create_task_group() as tasks:
                for events in queues:
                    tasks.start_soon(self._send_queue, connection, events, current)
        finally:
            with anyio.CancelScope(shield=True):
                await self._catalog.settle_events(current.result)
        return current

    async def _send_queue(
        self, connection: EventConnection, events: Sequence[OutboxEvent], current: _Round
    ) -> None:
        """Send the events of a queue in order, up to the first that is not accepted."""
        for event in events:
            if current.is_over:
                return
            try:
                with Timing(self._meter, "send"):
                    await connection.send(event)
            except ReceiverError as error:
                current.failed.append(self._failed(event, error))
                if not isinstance(error, EventRefused):
                    current.outage = error
                return
            current.accepted.append(event.id)

    def _failed(self, event: OutboxEvent, error: ReceiverError) -> FailedDelivery:
        is_refused = isinstance(error, EventRefused)
        retries = EVENT_RETRIES if is_refused else RECEIVER_RETRIES
        pause = retries.pause(event.failures + 1, random.random())  # noqa: S311 - no secret
        if is_refused:
            log.warning(
                "notification.refused",
                event_id=str(event.id),
                event_type=event.notification.type,
                subject=event.notification.subject,
                failures=event.failures + 1,
                again_in_s=round(pause.total_seconds(), 3),
                error=str(error),
            )
        return FailedDelivery(event.id, error.why, pause)

    def _note_round(self, current: _Round) -> None:
        if current.outage is None:
            self._outages, self._last_error = 0, ""
            return
        self._outages += 1
        self._last_error = str(current.outage)
        pause = RECEIVER_RETRIES.pause(self._outages, random.random())  # noqa: S311 - no secret
        asked = min(current.outage.retry_after or pause, LONGEST_WAIT)
        self._resumes_at = anyio.current_time() + max(pause, asked).total_seconds()

    async def _drop_old(self) -> None:
        """Drop what was accepted by no receiver for too long, and what is too much for the disk.

        Not while the clock is not trusted: after a step, all would seem old.
        """
        if anyio.current_time() < self._drops_at or not await self._clock.is_reliable():
            return
        while dropped := await self._catalog.drop_events(
            self.settings.keep, self.settings.max_waiting, DROP_BATCH
        ):
            self.dropped += len(dropped)
            _log_dropped(dropped)
        self._drops_at = anyio.current_time() + DROP_INTERVAL_SECONDS


def _log_dropped(dropped: Sequence[OutboxEvent]) -> None:
    subjects = list(dict.fromkeys(event.notification.subject for event in dropped))
    log.error(
        "notifications.dropped",
        events=len(dropped),
        types=dict(Counter(event.notification.type for event in dropped)),
        subjects=subjects[:MAX_SUBJECTS_LOGGED],
        oldest_at=dropped[0].created_at.isoformat(),
        newest_at=dropped[-1].created_at.isoformat(),
        why=dropped[0].last_error or "they waited for others, or no receiver is configured",
    )
