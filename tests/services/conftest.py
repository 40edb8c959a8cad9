"""Virtual time, and a site to put nodes on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
import pytest

from support.site import Site
from support.virtual_time import virtual_trio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio, with a clock that jumps when everybody waits."""
    return virtual_trio()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """A catalog and two stores; what was started around them ends with the test."""
    async with anyio.create_task_group() as tasks:
        site = Site(tasks)
        yield site
        tasks.cancel_scope.cancel()
    site.require_no_surprise()
