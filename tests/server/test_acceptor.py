"""Several processes accept from one socket: each gets its part, here as acceptors of one loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import pytest

from imaged.server.acceptor import Acceptor
from imaged.server.connection_counts import SharedCounts, SharedSlot
from support.waiting import until

CONNECTIONS = 16

pytestmark = pytest.mark.asyncio


@dataclass
class Counted(asyncio.Protocol):
    """A connection, counted by its process as that of the server does."""

    counts: SharedSlot

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count it, and end with the client."""
        del transport
        self.counts.add(None, 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        del exc
        self.counts.add(None, -1)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens."""
    with socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS) as listener:
        listener.setblocking(False)
        yield listener


def connect(listener: socket.socket, clients: ExitStack) -> None:
    """Connect at once, before anything is accepted."""
    for _ in range(CONNECTIONS):
        clients.enter_context(socket.create_connection(listener.getsockname()))


async def test_one_with_fewer_connections_accepts(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon the other one comes to run."""
    monkeypatch.setattr("imaged.server.acceptor.LEAVE_SECONDS", 60)
    counts = SharedCounts(2)
    slots = [SharedSlot(counts, slot) for slot in range(2)]
    slots[0].add(None, CONNECTIONS)
    with ExitStack() as clients, listener.dup() as other:
        connect(listener, clients)
        acceptors = [
            Acceptor(one, partial(Counted, slot), slot)
            for one, slot in zip((listener, other), slots, strict=True)
        ]

        await until_open(counts, 2 * CONNECTIONS)

        assert not any(slot.is_more_than_another() for slot in slots)
        for acceptor in acceptors:
            acceptor.close()
    await until_open(counts, CONNECTIONS)


async def test_one_that_does_not_accept_costs_others_a_moment(listener: socket.socket) -> None:
    """It hangs, or has just died: another one accepts all the same."""
    counts = SharedCounts(2)
    alone = SharedSlot(counts, 0)
    with ExitStack() as clients:
        connect(listener, clients)
        acceptor = Acceptor(listener, partial(Counted, alone), alone)

        await until_open(counts, CONNECTIONS)

    await until_open(counts, 0)
    acceptor.close()


async def test_an_error_is_a_pause(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many open files: it is told, and tried again later, but not all the time."""
    loop, told = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(lambda _, context: told.append(str(context["exception"])))
    counts = SharedCounts(1)
    monkeypatch.setattr("imaged.server.acceptor.RETRY_SECONDS", 0.01)
    refused = Refusing(listener.detach())
    with refused, socket.create_connection(refused.getsockname()):
        alone = SharedSlot(counts, 0)
        acceptor = Acceptor(refused, partial(Counted, alone), alone)

        await until_open(counts, 1)

        acceptor.close()
    await until_open(counts, 0)
    loop.set_exception_handler(None)
    assert told == ["[Errno 24] Too many open files"]


class Refusing(socket.socket):
    """A socket whose first connection cannot be accepted."""

    def __init__(self, number: int) -> None:
        super().__init__(fileno=number)
        self._errors = [OSError(24, "Too many open files")]

    def accept(self) -> tuple[socket.socket, object]:
        """Raise the error, once."""
        if self._errors:
            raise self._errors.pop()
        return super().accept()


async def until_open(counts: SharedCounts, number: int) -> None:
    """Wait until so many connections are counted."""

    async def are_open() -> bool:
        return counts.connections == number

    await until(are_open, lambda: f"{counts.connections} are open")
