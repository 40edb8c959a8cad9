"""Rows that a foreign session of PostgreSQL has locked: all others go on, and theirs afterwards."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon
from support.postgresql import connected, fresh_database
from support.waiting import until

#: It waits for locks and retries; in `make test-all`, catalogs/test_postgresql_locks.py and
#: services/test_item_backoff.py hold the rules.
pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180), pytest.mark.nightly]

DATA = os.urandom(100_000)


@pytest_asyncio.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    """On PostgreSQL, and a folder."""
    async with fresh_database() as url:
        settings: dict[str, dict[str, object]] = {
            "catalog": {"url": url},
            "scrubber": {"delay": "1h", "every": "300ms"},
        }
        daemon = Daemon(tmp_path, settings)
        await daemon.start()
        yield daemon
        await daemon.end(signal.SIGKILL)


async def test_a_row_that_is_locked_keeps_no_other_waiting(daemon: Daemon) -> None:
    """Two uploads of a dead instance and two images to scrub: of each, one is locked."""
    async with Client(daemon.url) as client:
        deleted = [await client.create() for _ in range(2)]
        for image_id in deleted:
            assert await client.put(image_id, DATA) == 204
            assert await client.delete(image_id) == 204
        saving = [await client.create() for _ in range(2)]
        uploads = []
        for image_id in saving:
            uploads.append(asyncio.create_task(client.put(image_id, never_ends())))
            await until(partial(has_status, daemon, image_id, "saving"), "it is not saving")
        await daemon.end(signal.SIGKILL)
        await asyncio.gather(*uploads, return_exceptions=True)

    locked = (deleted[0], saving[0])
    url = str(daemon.settings["catalog"]["url"])
    async with connected(url) as session:
        await session.execute("BEGIN")
        await session.execute("SELECT FROM images WHERE id = ANY($1) FOR UPDATE", locked)
        daemon.configure(scrubber={"delay": "0"})
        await daemon.start()

        await until(lambda: has_status(daemon, saving[1], "queued"), "the free one is stuck")
        await until(lambda: has_status(daemon, deleted[1], "deleted"), "the free one stays")
        await until(lambda: status_tells(daemon, saving[0]), "status does not tell of it")
        await session.execute("ROLLBACK")
    await until(lambda: has_status(daemon, saving[0], "queued"), "it is stuck", 90)
    await until(lambda: has_status(daemon, deleted[0], "deleted"), "it stays", 90)


async def never_ends() -> AsyncIterator[bytes]:
    """A body whose sender is slow."""
    yield DATA
    await asyncio.Event().wait()


async def has_status(daemon: Daemon, image_id: str, status: str) -> bool:
    """Whether the catalog says so."""
    async with connected(str(daemon.settings["catalog"]["url"])) as session:
        found = await session.fetchval("SELECT status FROM images WHERE id = $1", image_id)
    return bool(found == status)


async def status_tells(daemon: Daemon, what: str) -> bool:
    """Whether ``imaged status`` has it among the troubles."""
    _, output, _ = await daemon.command("status", "--json")
    return '"troubles": [\n' in output and what in output.partition("troubles")[2][:2000]
