"""The interface of what receives events: one receiver, chosen by the operator."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Protocol
from uuid import UUID

from imaged.core.outbox import OutboxEvent


class EventConnection(Protocol):
    """A way to the receiver, for several events at a time."""

    async def send(self, event: OutboxEvent) -> None:
        """Send one event; it is accepted when this returns.

        Raises EventRefused if the receiver works and does not want this event, and otherwise
        ReceiverError; then it is unknown whether the event was received. Takes at most the timeout
        of the settings.
        """
        ...


class EventReceiver(Protocol):
    """Whom events are sent to. An event may be sent more than once, always with the same id."""

    def connect(self, catalog_id: UUID) -> AbstractAsyncContextManager[EventConnection]:
        """Open a connection. ``catalog_id``: the catalog that the events come from."""
        ...
