"""A receiver of events in memory, which notes what it was sent and when."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import anyio
from anyio.lowlevel import checkpoint

from imaged.core.outbox import OutboxEvent

Answer = Callable[[OutboxEvent], Awaitable[None]]


async def accept(event: OutboxEvent) -> None:
    """Accept any event at once."""
    del event
    await checkpoint()


class MemoryReceiver:
    """Is an ``EventReceiver`` and its connection. ``answer`` raises to refuse an event."""

    def __init__(self, answer: Answer = accept) -> None:
        self.answer = answer
        self.sent: list[OutboxEvent] = []  # every attempt
        self.sent_at: list[float] = []
        self.accepted: list[OutboxEvent] = []
        self.catalogs: list[UUID] = []  # of each connection
        self.most_at_once = 0
        self._at_once = 0

    @asynccontextmanager
    async def connect(self, catalog_id: UUID) -> AsyncIterator[MemoryReceiver]:
        """A connection to it."""
        self.catalogs.append(catalog_id)
        yield self

    async def send(self, event: OutboxEvent) -> None:
        """Note the event, and answer."""
        self.sent.append(event)
        self.sent_at.append(anyio.current_time())
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            await self.answer(event)
        finally:
            self._at_once -= 1
        self.accepted.append(event)
