"""Concurrent use of one PostgreSQL catalog: lock waits, and no deadlocks."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from functools import partial
from uuid import UUID

import anyio
import pytest

from contracts import catalog_samples as samples
from contracts import catalog_stress_process
from contracts.catalog_audit import audit
from contracts.catalog_databases import behind_lock, other_transaction
from contracts.catalog_stress import add_roots
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.claim import InstanceId
from imaged.core.deletion import delete
from imaged.core.errors import BlobGone, ImageExists
from imaged.core.lifecycle import Status
from imaged.core.quota import Resource
from imaged.core.summary import Instance
from imaged.core.task import TaskStatus, cancel, claim_task
from imaged.core.uploading import begin_import, begin_upload
from support.postgresql import connected, execute
from support.sample_images import task

pytestmark = pytest.mark.asyncio


async def test_a_storm_has_no_deadlock(catalog: SqlCatalog, url: str) -> None:
    """Twelve clients in three processes: no error, no deadlock, and a consistent catalog."""
    await add_roots(catalog)

    await catalog_stress_process.hammer(url)

    async with connected(url) as db:
        query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
        assert await db.fetchval(query) == 0
    await audit(catalog)


async def test_a_stray_that_is_a_write(catalog: SqlCatalog, url: str) -> None:
    """A writer whose bytes are being doomed is refused, without a database error."""
    await catalog.add_image(samples.queued("i"))
    dooms = """
        INSERT INTO blobs (key, store, size_bytes, state, holders, due_at, failures)
        VALUES ('i/1', 'local', 0, 'doomed', 0, now(), 0)
    """
    begun = samples.held_by(samples.new_claim(), begin_upload(samples.place("i/1")))

    with pytest.raises(BlobGone):
        await behind_lock(url, dooms, catalog.modify_image("i", begun))

    assert (await catalog.get_image("i")).version == 0


async def test_a_write_that_is_a_stray(catalog: SqlCatalog, url: str) -> None:
    """Bytes whose row is being written are known."""
    writes = """
        INSERT INTO blobs (key, store, size_bytes, state, holders, failures)
        VALUES ('i/1', 'local', 0, 'writing', 1, 0)
    """
    doomed = catalog.add_stray(samples.place("i/1"), samples.AN_HOUR)

    assert await behind_lock(url, writes, doomed) is False


async def test_an_id_that_is_just_being_buried(catalog: SqlCatalog, url: str) -> None:
    """It is never given again, however close both transactions are."""
    await samples.add_deleted(catalog, "i")
    buries = "DELETE FROM images; INSERT INTO tombstones VALUES ('i')"

    with pytest.raises(ImageExists):
        await behind_lock(url, buries, catalog.add_image(samples.queued("i")))

    assert await samples.all_images(catalog) == []


async def test_locked_rows_are_skipped(catalog: SqlCatalog, url: str) -> None:
    """Neither the scrubber, nor a purge, nor a heartbeat waits for a locked row."""
    for image_id in ("i", "j"):
        await samples.add_deleted(catalog, image_id)
        await catalog.add_stray(samples.place(f"{image_id}/s"), -samples.AN_HOUR)
        await catalog.register_instance(Instance(InstanceId(image_id), "1", ()), samples.AN_HOUR)
    async with other_transaction(url) as other:
        await other.execute("SELECT FROM images WHERE id = 'i' FOR UPDATE")
        await other.execute("SELECT FROM blobs WHERE key = 'i/s' FOR UPDATE")
        await other.execute("SELECT FROM instances WHERE id = 'i' FOR UPDATE")
        with anyio.fail_after(10):
            assert await catalog.purge(-samples.AN_HOUR, 10) == ["j"]
            taken = await catalog.take_doomed(10, samples.AN_HOUR)
            await catalog.register_instance(Instance(InstanceId("k"), "1", ()), samples.NO_DELAY)

    assert [blob.key for blob in taken] == ["j/s"]
    assert [one.id for one in (await catalog.summarize()).instances] == ["i", "k"]


async def test_a_locked_claim_delays_no_other(catalog: SqlCatalog, url: str) -> None:
    """It delays no other one: those are renewed, and it lasts as long as its lock."""
    claims = {name: samples.new_claim() for name in ("i", "j", "t", "u")}
    for image_id in ("i", "j"):
        await samples.add_saving(catalog, image_id, claims[image_id])
    for task_id in ("t", "u"):
        await catalog.add_task(task(task_id))
        await catalog.modify_task(task_id, partial(claim_task, claim=claims[task_id]))
    before = await leases_of(url)

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM claims WHERE image_id = 'i' FOR UPDATE")
        await other.execute("SELECT FROM task_records WHERE id = 't' FOR UPDATE")
        with anyio.fail_after(10):
            assert await catalog.renew_leases(claims.values()) == set(claims.values())

    after = await leases_of(url)
    renewed = {name for name, claim in claims.items() if after[claim.token] > before[claim.token]}
    assert renewed == {"j", "u"}
    assert await catalog.renew_leases([*claims.values(), samples.new_claim()]) == set(
        claims.values()
    )


async def leases_of(url: str) -> dict[UUID, datetime]:
    """When they end, by the tokens of their claims."""
    query = (
        "SELECT token, until FROM claims UNION ALL "
        "SELECT token, until FROM task_records WHERE token IS NOT NULL"
    )
    async with connected(url) as db:
        return dict(await db.fetch(query))


async def test_bytes_that_are_just_being_doomed(catalog: SqlCatalog, url: str) -> None:
    """Removing them comes too early while a holder remains: they stay."""
    image = await samples.add_active(catalog, "i")
    pending = await catalog.modify_image("i", delete(delayed=True))
    dooms = """
        UPDATE images SET deleted_from = NULL;
        UPDATE blobs SET state = 'doomed', holders = 0, due_at = now(), awaited_by = 'i'
    """

    assert await behind_lock(url, dooms, catalog.remove_blob("i/1")) is None

    assert (await catalog.get_image("i")) == replace(pending, deleted_from=None)
    assert samples.known(await catalog.remove_blob("i/1")).content == image.content


async def test_a_task_that_another_one_has_just_followed(catalog: SqlCatalog, url: str) -> None:
    """A change of a task that ended meanwhile does not meet the next one of its image."""
    await samples.add_staged(catalog, "i")
    await catalog.modify_image("i", begin_import(task("t")))
    follows = """
        UPDATE images SET version = version + 1;
        CREATE TEMPORARY TABLE following ON COMMIT DROP AS SELECT * FROM task_records;
        UPDATE following SET id = 'u';
        UPDATE task_records SET status = 'failure', message = 'No room.', expires_at = now();
        INSERT INTO task_records SELECT * FROM following
    """

    ended = await behind_lock(
        url, follows, catalog.modify_task("t", lambda one: cancel(one, "Enough."))
    )

    assert (ended.id, ended.message) == ("t", "No room.")
    assert (await catalog.get_task("u")).status is TaskStatus.PENDING


async def test_an_account_that_is_just_being_charged(catalog: SqlCatalog, url: str) -> None:
    """A correction counts what the charge that it waited for has changed."""
    await catalog.add_image(samples.queued("i"))
    await execute(url, "UPDATE accounts SET image_count = 7")
    charges = """
        UPDATE accounts SET image_count = image_count - 1;
        UPDATE images SET status = 'deleted'
    """

    recount = await behind_lock(url, charges, catalog.correct_account("a"))

    assert (recount.account.usage[Resource.IMAGES], recount.counted[Resource.IMAGES]) == (6, 0)
    assert (await catalog.get_account("a")).usage[Resource.IMAGES] == 0


async def test_an_image_with_bytes_in_several_rows(catalog: SqlCatalog, url: str) -> None:
    """Removing the first of them does not wait for locks on the others: rows move, unlocked."""
    await samples.add_expired(catalog, "i")
    async with connected(url) as db:
        await db.execute(
            "INSERT INTO blobs (key, store, size_bytes, state, holders, due_at, awaited_by, "
            "failures) VALUES ('i/2', 'local', 10, 'doomed', 0, now(), 'i', 0)"
        )
        await db.execute("INSERT INTO image_locations VALUES ('i', 'i/2', 1)")

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM blobs WHERE key = 'i/2' FOR UPDATE")
        with anyio.fail_after(10):
            assert await catalog.remove_blob("i/1") is None

    image = await catalog.get_image("i")
    assert [location.key for location in image.locations] == ["i/2"]
    assert samples.known(await catalog.remove_blob("i/2")).locations == ()


async def test_rows_that_others_have_locked_are_left(catalog: SqlCatalog, url: str) -> None:
    """Removing many rows waits for no lock, neither of a row nor of an image; others leave."""
    for image_id in ("i", "j", "k"):
        await samples.add_expired(catalog, image_id)

    async with other_transaction(url) as other:
        await other.execute("SELECT FROM blobs WHERE key = 'i/1' FOR UPDATE")
        await other.execute("SELECT FROM images WHERE id = 'j' FOR UPDATE")
        with anyio.fail_after(10):
            left = await catalog.remove_blobs(["i/1", "j/1", "k/1"])

    assert set(left) == {"i/1", "j/1"}
    assert await catalog.list_keys(samples.STORE) == {"i/1", "j/1"}
    assert (await catalog.get_image("k")).status is Status.DELETED
    assert not await catalog.remove_blobs(left)
    assert not await catalog.list_keys(samples.STORE)
