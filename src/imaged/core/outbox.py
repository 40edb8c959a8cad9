"""The outbox: events that were committed with their changes and wait until the receiver has them.

Rule 1: the next event of a queue is delivered only when the receiver has accepted the one before.
Rule 2: an event that is not accepted is tried again, with growing pauses, until it is too old.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from imaged.core.notification import Notification
from imaged.core.retry_policy import RetryPolicy

#: Of an event that is refused. The longest pause limits its wait after its trouble is over.
EVENT_RETRIES = RetryPolicy(first_pause=timedelta(seconds=1), longest_pause=timedelta(minutes=5))
#: No event is hidden longer, neither by a pause nor while it is delivered.
LONGEST_WAIT = timedelta(minutes=10)
#: While the receiver does not answer: of all events, one of which is tried after each pause, and
#: of those that were tried.
RECEIVER_RETRIES = RetryPolicy(first_pause=timedelta(seconds=1), longest_pause=timedelta(minutes=1))


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An event that waits."""

    id: UUID
    notification: Notification
    created_at: datetime  # of its change, by the catalog's clock
    failures: int = 0
    last_error: str | None = None  # for operators


@dataclass(frozen=True, slots=True)
class FailedDelivery:
    """An event that was not accepted, why, and how long it waits now."""

    id: UUID
    why: str
    pause: timedelta


@dataclass(frozen=True, slots=True)
class DeliveryResult:
    """What became of events that were taken: accepted ones leave the outbox."""

    accepted: Sequence[UUID] = ()
    failed: Sequence[FailedDelivery] = ()
    untried: Sequence[UUID] = ()  # due again at once


@dataclass(frozen=True, slots=True)
class OutboxCount:
    """The events that wait."""

    events: int = 0
    failing: int = 0  # that were not accepted at least once
    oldest_at: datetime | None = None
