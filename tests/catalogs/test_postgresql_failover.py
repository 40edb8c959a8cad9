"""A PostgreSQL catalog with two servers, one of which accepts changes, until it stops doing so."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import anyio
import pytest
import pytest_asyncio

from contracts.catalog_databases import database_of, opened, use_all_connections
from contracts.catalog_samples import all_images, queued
from imaged.catalogs.connect import migrate_catalog
from imaged.core.errors import CatalogError
from support.postgresql import Server, connected, database_url, execute, started
from support.waiting import until

pytestmark = pytest.mark.asyncio

NAME = "facts"
HERE, THERE = "here", "there"


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[Server, Server]]:
    """Two without replication, so tests can tell which of them has an image."""
    with started() as first, started() as second:
        yield first, second


@pytest_asyncio.fixture
async def urls(servers: tuple[Server, Server]) -> AsyncIterator[list[str]]:
    """The same database on each of them, with empty tables."""
    async with AsyncExitStack() as databases:
        yield [await databases.enter_async_context(database(server)) for server in servers]


@asynccontextmanager
async def database(server: Server) -> AsyncIterator[str]:
    """A catalog of this name on a server; removed at the end."""
    await execute(server.url, f"CREATE DATABASE {NAME}")
    url = database_url(server.url, NAME)
    await migrate_catalog(url)
    yield url
    await read_only(server, is_so=False)
    await execute(server.url, f"DROP DATABASE {NAME} WITH (FORCE)")


async def read_only(server: Server, *, is_so: bool) -> None:
    """Make it refuse changes from now on; connected sessions stay connected."""
    value = "on" if is_so else "off"
    await execute(server.url, f"ALTER SYSTEM SET default_transaction_read_only = {value}")
    await execute(server.url, "SELECT pg_reload_conf()")

    async def is_told() -> bool:
        async with connected(server.url) as one:
            return bool(await one.fetchval("SHOW default_transaction_read_only") == value)

    await until(is_told)


def both(urls: list[str], query: str = "target_session_attrs=read-write") -> str:
    """A URL with both hosts."""
    here, there = (urlsplit(url).netloc.rpartition("@") for url in urls)
    return f"postgresql://{here[0]}@{here[2]},{there[2]}/{NAME}?{query}"


async def test_a_server_that_becomes_read_only_is_left(
    servers: tuple[Server, Server], urls: list[str]
) -> None:
    """Its sessions stay, so no connection breaks: the change that it refuses is made on the other
    server, without an error.
    """
    async with opened(both(urls)) as catalog:
        await catalog.add_image(queued(HERE))
        await use_all_connections(catalog, HERE)
        await read_only(servers[0], is_so=True)

        await catalog.add_image(queued(THERE))

        assert [image.id for image in await all_images(catalog)] == [THERE]
        await catalog.check()
        assert database_of(catalog).second_tries >= 1


async def test_a_check_leaves_a_server_that_became_read_only(
    servers: tuple[Server, Server], urls: list[str]
) -> None:
    """Also when nothing is written: otherwise readers would go on with stale data."""
    async with opened(both(urls)) as catalog:
        await catalog.add_image(queued(HERE))
        await read_only(servers[0], is_so=True)

        with pytest.raises(CatalogError, match="is read-only"):
            await catalog.check()

        await catalog.check()
        assert await all_images(catalog) == []


async def test_no_server_takes_changes(servers: tuple[Server, Server], urls: list[str]) -> None:
    """The error says so, and calls work again as soon as one accepts changes, without a restart."""
    async with opened(both(urls)) as catalog:
        for server in servers:
            await read_only(server, is_so=True)
        with pytest.raises(
            CatalogError, match=r"is read-only|no server matches target_session_attrs"
        ):
            await catalog.add_image(queued(HERE))

        await read_only(servers[1], is_so=False)
        await catalog.add_image(queued(THERE))


async def test_a_host_that_swallows_everything_does_not_keep_from_the_next(
    urls: list[str],
) -> None:
    """Each host has its own time limit: the first is cut off, and the second answers."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent_url = f"postgresql://postgres@127.0.0.1:{silent.getsockname()[1]}/{NAME}"
        with anyio.fail_after(30):
            async with opened(both([silent_url, urls[1]], "connect_timeout=1")) as catalog:
                await catalog.add_image(queued(THERE))
