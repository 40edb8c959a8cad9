"""Virtual time, and a cluster to put nodes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from support.cluster import Cluster
from support.virtual_time import virtual_trio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio, with a clock that jumps when all tasks wait."""
    return virtual_trio()


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A catalog and two stores; what was started around them ends with the test."""
    async with anyio.create_task_group() as tasks:
        cluster = Cluster(tasks)
        yield cluster
        tasks.cancel_scope.cancel()
    cluster.raise_unexpected_errors()
