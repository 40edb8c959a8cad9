"""A PostgreSQL catalog whose server is restarted, unavailable, or turned into a standby."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator

import anyio
import pytest
import pytest_asyncio

from contracts.catalog_databases import opened
from contracts.catalog_samples import all_images, queued, tag
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError
from support.postgresql import Server, fresh_database
from support.waiting import until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def catalog(server: Server) -> AsyncIterator[SqlCatalog]:
    """Empty, and audited at the end."""
    async with fresh_database(server.url) as url, opened(url) as catalog:
        yield catalog


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT], ids=["stopped", "crashed"])
async def test_a_server_that_is_restarted(
    catalog: SqlCatalog, server: Server, how: signal.Signals
) -> None:
    """Calls fail while it is down, the first one after it works, and nothing is lost."""
    await catalog.add_image(queued("i"))
    known: list[str] = []
    unknown: list[str] = []
    is_over = asyncio.Event()

    async def write(writer: int) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            name = f"{writer}-{number}"
            try:
                await catalog.modify_image("i", tag(name))
                known.append(name)
            except CatalogError:
                unknown.append(name)
                await asyncio.sleep(0.01)

    async with anyio.create_task_group() as crowd:
        for writer in range(8):
            crowd.start_soon(write, writer)
        await grows(known, 20)
        server.stop(how)
        await grows(unknown)
        server.start()
        await catalog.check()
        await grows(known, 20)
        is_over.set()

    image = await catalog.get_image("i")
    assert set(known) <= set(image.tags) <= set(known) | set(unknown)
    assert len(image.tags) == len(set(image.tags)) == image.version
    assert len(await all_images(catalog)) == 1


async def grows(names: list[str], more: int = 1) -> None:
    """Wait until there are so many more."""
    count = len(names) + more

    async def has_grown() -> bool:
        return len(names) >= count

    await until(has_grown)


async def test_a_server_that_is_away(catalog: SqlCatalog, server: Server) -> None:
    """The error names the address and comes at once."""
    server.stop()
    try:
        with anyio.fail_after(10), pytest.raises(CatalogError) as error:
            await catalog.check()
    finally:
        server.start()

    assert f"on 127.0.0.1:{server.port}" in str(error.value)
    await catalog.check()


async def test_a_server_that_became_a_standby(catalog: SqlCatalog, server: Server) -> None:
    """It answers but accepts no writes: a check reports that, and so does a write."""
    server.stop()
    server.standby(is_one=True)
    server.start()
    try:
        with pytest.raises(CatalogError, match="is a standby"):
            await catalog.check()
        with pytest.raises(CatalogError, match="is read-only"):
            await catalog.add_image(queued("i"))
        assert await all_images(catalog) == []
    finally:
        server.stop()
        server.standby(is_one=False)
        server.start()

    await catalog.add_image(queued("i"))
