"""Bodies for a store to write, and helpers to read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable
from uuid import uuid4

from imaged.core.blob import make_key
from imaged.core.block import Block
from imaged.core.limits import KIB, MIB
from imaged.ports.store import Store

CHUNK_BYTES = 256 * KIB


class Verdict(Exception):
    """What a stage of an upload raises about its bytes. Not one of imaged's errors."""


def new_key() -> str:
    """An unused key."""
    return make_key(str(uuid4()), uuid4())


def some_bytes(size_bytes: int) -> bytes:
    """The same bytes each time, without repetition."""
    return random.Random(size_bytes).randbytes(size_bytes)


def block_of(data: bytes, chunk_bytes: int = CHUNK_BYTES) -> Block:
    """One block, in chunks as a connection delivers them."""
    return Block([data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)])


async def body(
    data: bytes, block_bytes: int = MIB, ending: Exception | None = None
) -> AsyncIterator[Block]:
    """Data in blocks; then optionally an error, such as a verdict on the bytes."""
    for at in range(0, len(data), block_bytes):
        yield block_of(data[at : at + block_bytes])
    if ending is not None:
        raise ending


async def body_of(blocks: Iterable[Block]) -> AsyncIterator[Block]:
    """These blocks."""
    for block in blocks:
        yield block


class PausedBody:
    """A body that stops between two parts, until it is released."""

    def __init__(self, before: bytes, after: bytes = b"") -> None:
        self._before = before
        self._after = after
        self._halted = asyncio.Event()
        self._released = asyncio.Event()

    async def __aiter__(self) -> AsyncIterator[Block]:
        async for block in body(self._before):
            yield block
        self._halted.set()
        await self._released.wait()
        async for block in body(self._after):
            yield block

    async def halted(self) -> None:
        """Wait until the store has taken the first part and asks for more."""
        await self._halted.wait()

    def release(self) -> None:
        """Continue it."""
        self._released.set()


async def body_that_must_not_end(paused: PausedBody) -> AsyncIterator[Block]:
    """The same body; its end is an error."""
    async for block in paused:
        yield block
    raise Verdict("it was read to its end")


async def read_all(store: Store, key: str, start: int = 0, length: int = MIB) -> bytes:
    """Everything that a store returns, by reads of this length."""
    parts = []
    async with store.open(key, start) as reader:
        while part := await reader.read(length):
            parts.append(part)
    return b"".join(parts)


async def all_keys(store: Store, prefix: str = "") -> list[str]:
    """Everything that a store lists, sorted."""
    return sorted([key async for key in store.list_keys(prefix)])
