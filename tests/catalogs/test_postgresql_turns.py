"""Many changes at once in a PostgreSQL catalog: they wait without holding connections."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import anyio
import pytest

from contracts import catalog_samples as samples
from contracts.catalog_databases import (
    database_of,
    lock_waited_for,
    other_transaction,
    require_idle,
)
from imaged.catalogs.postgresql.settings import PostgresqlSettings
from imaged.catalogs.postgresql.turns import MAX_CHANGES, Turns
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.errors import CatalogError
from imaged.core.image import Change, Image
from support.waiting import until

pytestmark = pytest.mark.asyncio

CHANGES = 40  # more than there are connections


def with_tag(tag: str) -> Change:
    """A change of which none may be lost."""

    def change(image: Image) -> Image:
        return replace(image, tags=(*image.tags, tag))

    return change


async def test_changes_of_one_image_keep_no_other_waiting(catalog: SqlCatalog, url: str) -> None:
    """However many wait for it: they have one connection, and all are made in the end."""
    await catalog.add_image(samples.queued("i"))
    await catalog.add_image(samples.queued("j"))

    async with asyncio.TaskGroup() as tasks, other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        for number in range(CHANGES):
            tasks.create_task(catalog.modify_image("i", with_tag(str(number))))
        await lock_waited_for(url)
        assert (await catalog.modify_image("j", with_tag("new"))).tags == ("new",)
        assert database_of(catalog).busy == 1

    tags = (await catalog.get_image("i")).tags
    assert sorted(tags) == sorted(str(number) for number in range(CHANGES))
    require_idle(catalog)


async def test_changes_of_images_leave_connections_to_others(catalog: SqlCatalog, url: str) -> None:
    """More images are changed and added than there are connections, and all of them wait."""
    for number in range(CHANGES):
        await catalog.add_image(samples.queued(str(number)))
    database = database_of(catalog)

    async def is_full() -> bool:
        return database.busy >= MAX_CHANGES

    async with asyncio.TaskGroup() as tasks, other_transaction(url) as other:
        await other.execute("SELECT FROM images, accounts FOR UPDATE")
        for number in range(CHANGES):
            tasks.create_task(catalog.add_image(samples.queued(f"new {number}")))
            tasks.create_task(catalog.modify_image(str(number), with_tag("new")))
        await until(is_full, "they do not wait")
        with anyio.fail_after(5):
            await catalog.set_limits("p1", {})  # as leases: it writes, and has no turn
            assert (await catalog.get_image("0")).tags == ()
        assert database.busy == MAX_CHANGES < database.connections_limit

    tags = Counter(image.tags for image in await samples.all_images(catalog))
    assert tags == {("new",): CHANGES, (): CHANGES}


async def test_a_turn_is_waited_for_a_limited_time(catalog: SqlCatalog, url: str) -> None:
    """The error says what it waited for, and the change is not made."""
    await catalog.add_image(samples.queued("i"))
    database_of(catalog).settings = PostgresqlSettings(turn_seconds=0.2)

    async with asyncio.TaskGroup() as tasks, other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        first = tasks.create_task(catalog.modify_image("i", with_tag("first")))
        await lock_waited_for(url)
        with pytest.raises(CatalogError, match="is busy: other changes took too long"):
            await catalog.modify_image("i", with_tag("second"))

    assert (await first).tags == (await catalog.get_image("i")).tags == ("first",)


async def test_a_database_that_does_not_answer_keeps_none_waiting(
    catalog: SqlCatalog, url: str
) -> None:
    """When one change had no answer, all that wait fail with it, and later ones are made."""
    await catalog.add_image(samples.queued("i"))
    patient = database_of(catalog).settings
    database_of(catalog).settings = PostgresqlSettings(0.5)

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        answers = await asyncio.gather(
            *(catalog.modify_image("i", with_tag(str(number))) for number in range(3)),
            return_exceptions=True,
        )
        assert sum("did not answer within" in str(answer) for answer in answers) == 1
        assert sum("or had no answer" in str(answer) for answer in answers) == 2
        database_of(catalog).settings = patient

    assert (await catalog.modify_image("i", with_tag("new"))).tags == ("new",)


async def test_the_first_that_came_is_the_next() -> None:
    """One at a time, also if some of those that wait leave, and others come meanwhile."""
    turns, served = Turns(9), list[int]()
    may_end = [asyncio.Event() for _ in range(7)]

    async def serve(number: int) -> None:
        async with turns.turn("i", 60):
            served.append(number)
            await may_end[number].wait()

    async with asyncio.TaskGroup() as tasks:
        waiting = [tasks.create_task(serve(number)) for number in range(6)]
        await _has(served, 1)
        waiting[2].cancel()
        may_end[0].set()
        await _has(served, 2)
        tasks.create_task(serve(6))
        for number in range(1, 7):
            may_end[number].set()

    assert served == [0, 1, 3, 4, 5, 6]


async def _has(served: list[int], count: int) -> None:
    """Wait until so many are served."""

    async def has() -> bool:
        return len(served) >= count

    await until(has, "none is served")
