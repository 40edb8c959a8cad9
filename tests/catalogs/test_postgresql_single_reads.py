"""Reads of PostgreSQL that are one statement: they take one round trip, and no transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, String, func, select

from contracts.catalog_databases import TERMINATE, database_of
from contracts.catalog_samples import add_active, queued
from imaged.catalogs.prepared import PreparedSelect
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.tables import images
from imaged.core.access import OPERATOR, Caller
from imaged.core.image import Visibility
from imaged.core.limits import MIB
from imaged.core.query import Column, ImageQuery, Order
from imaged.core.sharing import add_member
from support.postgresql import execute
from support.waiting import until

pytestmark = pytest.mark.asyncio

MEMBER = Caller("u", "a", frozenset({"member"}))
SLOW = PreparedSelect(select(func.pg_sleep(60).cast(String)))


@contextmanager
def told(catalog: SqlCatalog) -> Iterator[list[str]]:
    """The statements that the driver sends meanwhile, those of transactions among them."""
    sent: list[str] = []

    def note(query: Any) -> None:
        sent.append(query.query.split(maxsplit=1)[0].rstrip(";"))

    opened = list(database_of(catalog).connector.opened)
    for connection in opened:
        connection.add_query_logger(note)
    yield sent
    for connection in opened:
        connection.remove_query_logger(note)


async def test_an_image_is_one_statement(catalog: SqlCatalog) -> None:
    """With its locations, and without a transaction."""
    await add_active(catalog, "i")

    with told(catalog) as sent:
        image = await catalog.get_image("i")

    assert sent == ["SELECT"]
    assert len(image.locations) == 1


@pytest.mark.parametrize("caller", [None, MEMBER], ids=["operator", "member"])
async def test_a_page_is_one_statement(catalog: SqlCatalog, caller: Caller | None) -> None:
    """With the locations of its images, also behind another page."""
    first, second = await add_active(catalog, "i"), await add_active(catalog, "j")
    query = ImageQuery(caller=caller, order=(Order(Column.CREATED_AT),))

    with told(catalog) as sent:
        page = await catalog.list_page(query, MIB)
        further = await catalog.list_page(replace(query, after=first), MIB)
        behind_id = await catalog.list_page(replace(query, after_id="i"), MIB)

    assert sent == ["SELECT", "SELECT", "SELECT"]
    assert page.images == [first, second]
    assert further.images == behind_id.images == [second]


async def test_counting_is_one_statement_more(catalog: SqlCatalog) -> None:
    """And needs no transaction: it only says how to read."""
    await add_active(catalog, "i")

    with told(catalog) as sent:
        await catalog.list_page(ImageQuery(tags=("t", "u")), MIB)

    assert sent == ["SELECT", "SELECT"]


@pytest.mark.parametrize("order", ["name", "status"])
async def test_several_statements_see_one_state(catalog: SqlCatalog, order: str) -> None:
    """A list that is sorted by two columns is read in a transaction."""
    await add_active(catalog, "i")
    keys = (Order(Column(order)), Order(Column.SIZE))

    with told(catalog) as sent:
        await catalog.list_page(ImageQuery(order=keys), MIB)

    assert sent[0] == "BEGIN"


async def test_an_image_with_members_is_read_in_a_transaction(catalog: SqlCatalog) -> None:
    """They are further statements."""
    await catalog.add_image(replace(queued("i"), visibility=Visibility.SHARED))
    shared = await catalog.modify_image("i", add_member(OPERATOR, "b", None))

    with told(catalog) as sent:
        assert await catalog.get_image("i") == shared

    assert "BEGIN" in sent


async def test_a_second_statement_is_executed_in_a_transaction(catalog: SqlCatalog) -> None:
    """Both, so that they see one state."""
    await add_active(catalog, "i")
    ids = PreparedSelect(select(images.c.id))

    with told(catalog) as sent:
        found = await database_of(catalog).read_short(lambda db: (ids.rows(db), ids.rows(db)))

    assert [[tuple(row) for row in rows] for rows in found] == [[("i",)], [("i",)]]
    assert sent == ["SELECT", "BEGIN", "COMMIT"]  # SQLAlchemy's statements are not told


async def test_a_lost_connection_is_noticed(catalog: SqlCatalog, url: str) -> None:
    """And another one answers."""
    image = await add_active(catalog, "i")
    await execute(url, TERMINATE)

    assert await catalog.get_image("i") == image
    assert (await catalog.list_page(ImageQuery(), MIB)).images == [image]


async def test_a_read_that_is_cancelled_leaves_a_usable_connection(catalog: SqlCatalog) -> None:
    """Its statement ends with it."""
    image = await add_active(catalog, "i")

    def wait(db: Connection) -> None:
        SLOW.rows(db)

    database = database_of(catalog)
    reading = asyncio.create_task(database.read_short(wait))

    async def is_waiting() -> bool:
        return database.busy == 1

    await until(is_waiting)
    reading.cancel()
    await asyncio.wait([reading])

    assert database.busy == 0
    for _ in range(database.connections_limit):
        assert await catalog.get_image("i") == image
