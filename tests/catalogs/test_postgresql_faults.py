"""A PostgreSQL catalog whose server ends connections, hangs, or whose answers are lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable

import anyio
import pytest
import pytest_asyncio

from contracts.catalog_audit import audit
from contracts.catalog_databases import (
    TERMINATE,
    database_of,
    lock_waited_for,
    opened,
    other_transaction,
    require_idle,
    use_all_connections,
)
from contracts.catalog_samples import add_active, queued, tag
from contracts.catalog_stress import StressClient, add_roots
from imaged.catalogs.postgresql.settings import PostgresqlSettings
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError
from imaged.core.image import Image
from support.postgresql import execute
from support.tcp_proxy import PausableProxy
from support.waiting import until

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def wire(url: str) -> AsyncIterator[PausableProxy]:
    """The proxy between the server and users of its URL."""
    async with PausableProxy(url).running() as wire:
        yield wire


@pytest.mark.parametrize("what", ["read", "write"])
async def test_connections_that_were_lost_unnoticed(
    catalog: SqlCatalog, url: str, what: str
) -> None:
    """The next call works without an error."""
    await catalog.add_image(queued("i"))
    await use_all_connections(catalog, "i")
    await execute(url, TERMINATE)

    if what == "read":
        assert (await catalog.get_image("i")).tags == ()
    else:
        assert (await catalog.modify_image("i", tag("t"))).tags == ("t",)
    await use_all_connections(catalog, "i")


async def test_a_backend_that_is_terminated_at_work(catalog: SqlCatalog, url: str) -> None:
    """Before its commit nothing was done: the transaction is retried, once."""
    await catalog.add_image(queued("i"))
    changed: list[Image] = []

    async def modify() -> None:
        changed.append(await catalog.modify_image("i", tag("t")))

    async with anyio.create_task_group() as tasks, other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        tasks.start_soon(modify)
        for _ in range(2):
            await lock_waited_for(url)
            await execute(url, TERMINATE)

    assert [(image.tags, image.version) for image in changed] == [(("t",), 1)]
    assert changed == [await catalog.get_image("i")]


async def test_a_backend_that_is_terminated_again_and_again(catalog: SqlCatalog, url: str) -> None:
    """Retries are limited, and nothing was done."""
    await catalog.add_image(queued("i"))
    gave_up = asyncio.Event()

    async def modify() -> None:
        with pytest.raises(CatalogError, match="was lost"):
            await catalog.modify_image("i", tag("t"))
        gave_up.set()

    async def terminate() -> bool:
        await execute(url, TERMINATE)
        return gave_up.is_set()

    async with anyio.create_task_group() as tasks, other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        tasks.start_soon(modify)
        await until(terminate)

    assert (await catalog.get_image("i")).version == 0


async def test_a_backend_that_is_terminated_while_it_commits(catalog: SqlCatalog, url: str) -> None:
    """The outcome is unknown: that is an error, and it is not retried."""
    await catalog.add_image(queued("i"))
    await execute(
        url,
        """
        CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END
        $$;
        CREATE CONSTRAINT TRIGGER linger AFTER UPDATE ON images DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE FUNCTION linger();
        """,
    )

    async def modify() -> None:
        with pytest.raises(CatalogError, match="while a change was being committed"):
            await catalog.modify_image("i", tag("t"))

    async with anyio.create_task_group() as tasks, other_transaction(url) as other:
        await other.execute("SELECT pg_advisory_xact_lock(7)")
        tasks.start_soon(modify)
        await lock_waited_for(url)
        await execute(url, TERMINATE)

    assert (await catalog.get_image("i")).version == 0
    assert (await catalog.modify_image("i", tag("t"))).version == 1


async def test_a_commit_whose_answer_is_lost(wire: PausableProxy) -> None:
    """It is an error, although it was done: a later read sees it, once."""
    async with opened(wire.url) as catalog:
        await catalog.add_image(queued("i"))
        wire.cut_after(b"COMMIT;")
        with pytest.raises(CatalogError, match="its outcome is unknown"):
            await catalog.modify_image("i", tag("t"))

        image = await catalog.get_image("i")
        assert (image.tags, image.version) == (("t",), 1)


async def test_the_answer_to_a_reader_is_lost(wire: PausableProxy) -> None:
    """Reading again has no effect, so the caller gets no error."""
    async with opened(wire.url) as catalog:
        image = await catalog.add_image(queued("i"))
        wire.cut_after(b"COMMIT;")

        assert await catalog.get_image("i") == image


async def test_a_wire_that_is_cut(wire: PausableProxy) -> None:
    """At any moment, five times: at most errors, and a consistent catalog at the end."""
    async with opened(wire.url) as catalog:
        await add_roots(catalog)
        storms = [StressClient(catalog, f"storm{number}") for number in range(4)]
        is_over = asyncio.Event()

        async def rage(storm: StressClient) -> None:
            while not is_over.is_set():
                try:
                    await storm.step()
                except CatalogError:
                    await asyncio.sleep(0.01)

        async with anyio.create_task_group() as crowd:
            for storm in storms:
                crowd.start_soon(rage, storm)
            for _ in range(5):
                done = sum(storm.done for storm in storms)

                async def go_on(done: int = done) -> bool:
                    return sum(storm.done for storm in storms) > done + 20

                await until(go_on)
                wire.cut()
            is_over.set()

        await audit(catalog)


async def test_a_server_that_hangs(wire: PausableProxy) -> None:
    """Every call ends with an error, checks soon; once the server is back, the catalog works."""
    async with opened(wire.url) as catalog:
        image = await add_active(catalog, "i")
        await use_all_connections(catalog, "i")
        patient = database_of(catalog).settings
        database_of(catalog).settings = PostgresqlSettings(0.5, check_seconds=0.2)
        wire.stop()

        with anyio.fail_after(20):
            with pytest.raises(CatalogError, match="did not answer within"):
                await catalog.check()
            async with anyio.create_task_group() as crowd:
                for _ in range(15):
                    crowd.start_soon(expect_error, catalog.modify_image("i", tag("t")))
                    crowd.start_soon(expect_error, catalog.get_image("i"))
        require_idle(catalog)
        assert database_of(catalog).connections == 0

        wire.go_on()
        database_of(catalog).settings = patient
        await catalog.check()
        assert await catalog.get_image("i") == image


async def expect_error(call: Awaitable[Image]) -> None:
    """A call that gets no answer."""
    with pytest.raises(CatalogError):
        await call
