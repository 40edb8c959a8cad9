"""Stages with threads beside the event loop, as in a daemon: what they know may be late."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable

import pytest

from imaged.core.block import Block
from imaged.core.image import BrokenUpload
from imaged.lanes import ThreadLane
from support.cluster import Cluster
from support.node import A

pytestmark = pytest.mark.anyio

FILE = bytes(range(1, 200))


@pytest.fixture
def anyio_backend() -> str:
    """Real time: a thread knows no other."""
    return "asyncio"


class SleepyLane(ThreadLane[Block]):
    """Does nothing until its result is awaited."""

    def __init__(self, work: Callable[[Block], None], *, computes: bool = False) -> None:
        self._awaited = threading.Event()

        def later(block: Block) -> None:
            self._awaited.wait()
            work(block)

        super().__init__(later, computes=computes)

    async def drain(self) -> None:
        """Wait until everything is done."""
        self._awaited.set()
        await super().drain()


async def test_a_first_chunk_is_noted_before_its_digest(cluster: Cluster) -> None:
    """Should the process die a moment later, nothing else would tell the rest from the whole."""
    await cluster.queued(A)
    node = cluster.node()
    node.ingest.lanes = SleepyLane  # type: ignore[assignment] # of blocks alone
    noted: list[BrokenUpload | None] = []

    async def looking() -> AsyncGenerator[bytes]:
        yield FILE[:7]
        noted.append((await cluster.image(A)).broken_upload)
        yield FILE[7:]

    await node.upload(A, looking())

    assert [broken and broken.received_bytes for broken in noted] == [7]
