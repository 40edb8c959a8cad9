"""Checks the events that wait for the receiver of notifications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from imaged.cli.doctor import Finding, warning
from imaged.core.outbox import OutboxEvent
from imaged.units import pluralize


def check_waiting(events: Sequence[OutboxEvent]) -> Iterator[Finding]:
    """Say why the oldest event that waits was not accepted, if it was tried."""
    for event in events[:1]:
        if event.failures:
            tried, told = pluralize(event.failures, "time"), event.notification
            yield warning(
                "notifications",
                f"The oldest event that waits, {told.type} of {told.subject}, failed {tried}: the "
                f"receiver {event.last_error}.",
                "Look into the receiver's own log; the event is sent again.",
            )
