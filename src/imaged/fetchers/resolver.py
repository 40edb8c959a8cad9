"""Resolves the names of fetches, separately from all other lookups.

``getaddrinfo`` cannot be interrupted: after its timeout a lookup goes on in its thread for as long
as the system's resolver tries. On the event loop's shared threads, a few names that no server
answers for would block the lookups of S3 and PostgreSQL. So each lookup has a thread of its own,
and occupies one of a limited number of slots until that thread ends, not until its caller stops
waiting.

It uses ``getaddrinfo`` rather than a DNS library, because operators expect /etc/hosts and
nsswitch.conf to apply.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Thread
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

MAX_LOOKUPS = 16  # concurrent lookups of this process
MAX_LOOKUPS_PER_PROJECT = 4  # of one project, so that it cannot use them all

GetAddrInfo = Callable[..., list[tuple[Any, ...]]]


@dataclass(slots=True)
class _Owner:
    """A project's slots, for as long as it uses or waits for one."""

    slots: asyncio.Semaphore
    users: int = 0


@dataclass(slots=True)
class NameResolver:
    """The slots for lookups; ``look_up`` has the signature of ``socket.getaddrinfo``."""

    look_up: GetAddrInfo = socket.getaddrinfo
    max_lookups: int = MAX_LOOKUPS
    max_lookups_per_project: int = MAX_LOOKUPS_PER_PROJECT
    _slots: asyncio.Semaphore = field(init=False)
    _owners: dict[str, _Owner] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._slots = asyncio.Semaphore(self.max_lookups)

    def of(self, owner: str) -> AbstractResolver:
        """A resolver for one fetch of this project."""
        return _Resolver(self, owner)

    async def resolve(
        self, owner: str, host: str, port: int, family: socket.AddressFamily
    ) -> list[tuple[Any, ...]]:
        """The entries of ``getaddrinfo``. Waits for a slot. Raises OSError."""
        kept = self._owners.setdefault(
            owner, _Owner(asyncio.Semaphore(self.max_lookups_per_project))
        )
        kept.users += 1
        try:
            await kept.slots.acquire()
        except BaseException:
            self._leave(owner, kept)
            raise
        try:
            await self._slots.acquire()
        except BaseException:
            kept.slots.release()
            self._leave(owner, kept)
            raise
        return await self._in_thread(owner, kept, (host, port, family, socket.SOCK_STREAM))

    async def _in_thread(
        self, owner: str, kept: _Owner, question: tuple[Any, ...]
    ) -> list[tuple[Any, ...]]:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[tuple[Any, ...]]] = loop.create_future()

        def end(found: list[tuple[Any, ...]], error: Exception | None) -> None:
            self._slots.release()
            kept.slots.release()
            self._leave(owner, kept)
            if answer.done():  # its caller stopped waiting
                return
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

        def run() -> None:
            found: list[tuple[Any, ...]] = []
            error: Exception | None = None
            try:
                found = self.look_up(*question)
            except UnicodeError:  # a label that is empty, or longer than 63 characters
                error = socket.gaierror(socket.EAI_NONAME, "this is not a name")
            except Exception as failure:  # noqa: BLE001 - the caller gets it, and the slot is free
                error = failure
            with suppress(RuntimeError):  # the loop has ended, and nothing waits
                loop.call_soon_threadsafe(end, found, error)

        try:
            Thread(target=run, name="name-lookup", daemon=True).start()
        except RuntimeError as error:  # the system cannot start another thread
            end([], OSError(errno.EAGAIN, str(error)))
        return await answer

    def _leave(self, owner: str, kept: _Owner) -> None:
        kept.users -= 1
        if not kept.users:
            del self._owners[owner]


class _Resolver(AbstractResolver):
    """The interface that aiohttp calls."""

    def __init__(self, lookups: NameResolver, owner: str) -> None:
        self._lookups = lookups
        self._owner = owner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        found = await self._lookups.resolve(self._owner, host, port, family)
        return [
            ResolveResult(
                hostname=host,
                host=address[0],
                port=port,
                family=kind,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for kind, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Nothing to close: the slots are shared."""
