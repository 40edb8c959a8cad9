"""What stands between one process and the world that it shares: a network, and its own death.

A call may be slow, refused before it is carried out, answered too late or not at all, and it may
be delivered long after its sender gave up or died. A dead process hears nothing, and nothing that
it does from then on matters. What is in the network when it dies is delivered all the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar, cast

import anyio
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from imaged.core.block import Block
from imaged.core.errors import CatalogUnavailable, ImagedError, StoreError
from imaged.core.summary import StoreSpace
from imaged.ports.catalog import Catalog
from imaged.ports.store import BlobReader, RecordUploadId, ignore_upload_id
from imaged.testing.memory_store import MemoryStore

T = TypeVar("T")

SLOW, LATE, REFUSED, UNANSWERED, FROZEN = 0.03, 0.03, 0.03, 0.03, 0.04  # how often
DELETE_REFUSED = 0.2
PAUSES = (1, 20, 90)  # seconds, less and more than a lease
LATENCIES = (5, 70, 200)
SHORT_LATENCIES = (5, 30)
FREEZES = (90, 150, 250)


class Killed(BaseException):
    """The process is dead. Only the starter of the process catches it."""


@dataclass
class Network:
    """Carries the calls of all processes, more or less."""

    chance: Random
    tasks: TaskGroup
    #: Whether a write may begin so late that even its doomed row has gone.
    late_begins: bool
    is_bad: bool = True
    counts: Counter[str] = field(default_factory=Counter)

    def strikes(self, what: str, how_often: float) -> bool:
        """Whether it happens now; never in good weather."""
        if not self.is_bad or self.chance.random() >= how_often:
            return False
        self.counts[what] += 1
        return True


class SimulatedConnection:
    """What one process has of the network."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self.network = network
        self.is_dead = False

    async def call(
        self,
        error: Callable[[], ImagedError],
        call: Callable[..., Awaitable[T]],
        *args: Any,
        **named: Any,
    ) -> T:
        """Make a call."""
        network = self._network
        await checkpoint()
        self._require_life()
        if network.strikes("slow", SLOW):
            await anyio.sleep(network.chance.choice(PAUSES))
            self._require_life()
        refused = DELETE_REFUSED if call.__name__ == "delete" else REFUSED
        if network.strikes("refused", refused):
            raise error()
        if network.strikes("late", LATE):
            result = await self._deliver_late(call, args, named)
        else:
            result = await call(*args, **named)
        self._require_life()
        if network.strikes("unanswered", UNANSWERED):
            raise error()
        return result

    async def _deliver_late(
        self, call: Callable[..., Awaitable[T]], args: tuple[Any, ...], named: dict[str, Any]
    ) -> T:
        """Wait for the answer; it is carried out also after a cancellation."""
        early = call.__name__ == "begin" and not self._network.late_begins
        delay = self._network.chance.choice(SHORT_LATENCIES if early else LATENCIES)
        answered, answers = anyio.Event(), list[tuple[T | None, ImagedError | None]]()

        async def deliver() -> None:
            await anyio.sleep(delay)
            try:
                answers.append((await call(*args, **named), None))
            except ImagedError as error:
                answers.append((None, error))
            answered.set()

        self._network.tasks.start_soon(deliver)
        await answered.wait()
        ((result, error),) = answers
        if error is not None:
            raise error
        return cast("T", result)

    def _require_life(self) -> None:
        if self.is_dead:
            raise Killed


def networked_catalog(catalog: Catalog, wire: SimulatedConnection) -> Catalog:
    """The catalog, as a process at the other end of the wire has it."""
    return cast("Catalog", _NetworkedCatalog(catalog, wire))


class _NetworkedCatalog:
    def __init__(self, catalog: Catalog, wire: SimulatedConnection) -> None:
        self._catalog = catalog
        self._wire = wire

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        call = getattr(self._catalog, name)

        async def wired(*args: Any, **named: Any) -> Any:
            return await self._wire.call(_catalog_error, call, *args, **named)

        return wired


class NetworkedStore:
    """The store, as a process at the other end of the wire has it. A write is many messages."""

    def __init__(self, store: MemoryStore, wire: SimulatedConnection) -> None:
        self.name = store.name
        self.settles_after = store.settles_after
        self._store = store
        self._wire = wire

    async def check(self) -> None:
        """As the store does."""
        await self._wire.call(self._error, self._store.check)

    async def put(
        self,
        key: str,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
        record: RecordUploadId = ignore_upload_id,
    ) -> int:
        """Begin, append, commit; or stand still for so long that the lease is over."""
        del expected_bytes, record
        network = self._wire.network
        if network.strikes("frozen", FROZEN):
            with anyio.CancelScope(shield=True):
                await anyio.sleep(network.chance.choice(FREEZES))
                async with aclosing(_unless_dead(blocks, self._wire)) as survivors:
                    return await self._store.put(key, survivors)
        await self._wire.call(self._error, self._store.begin, key)
        async for block in blocks:
            await self._wire.call(self._error, self._store.append, key, block)
        return await self._wire.call(self._error, self._store.commit, key)

    @asynccontextmanager
    async def open(self, key: str, start: int = 0) -> AsyncIterator[BlobReader]:
        """As the store does; each read is a message."""
        async with self._store.open(key, start) as reader:
            yield _NetworkedReader(reader, self._wire, self._error)

    async def delete(self, key: str, upload_id: str | None = None) -> None:
        """As the store does, but it is refused more often."""
        await self._wire.call(self._error, self._store.delete, key, upload_id)

    async def delete_batch(self, keys: Sequence[str]) -> Sequence[str]:
        """Each of them as above; those that are refused are not in the answer."""
        gone = []
        for key in keys:
            with suppress(StoreError):
                await self.delete(key)
                gone.append(key)
        return gone

    async def list_keys(self, prefix: str = "") -> AsyncIterator[str]:
        """As the store does."""
        async for key in self._store.list_keys(prefix):
            yield key

    async def space(self) -> StoreSpace | None:
        """As the store does."""
        return await self._store.space()

    def _error(self) -> StoreError:
        return StoreError(self.name, "does not answer")


class _NetworkedReader:
    def __init__(
        self, reader: BlobReader, wire: SimulatedConnection, error: Callable[[], ImagedError]
    ) -> None:
        self.size_bytes = reader.size_bytes
        self._reader = reader
        self._wire = wire
        self._error = error

    async def read(self, length: int) -> bytes:
        return await self._wire.call(self._error, self._reader.read, length)


async def _unless_dead(
    blocks: AsyncIterable[Block], wire: SimulatedConnection
) -> AsyncGenerator[Block]:
    async for block in blocks:
        if wire.is_dead:
            raise Killed
        yield block


def _catalog_error() -> CatalogUnavailable:
    return CatalogUnavailable("The catalog does not answer.")
