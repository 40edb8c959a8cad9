"""PostgreSQL's query plans: statements use an index with ten thousand images."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest
import pytest_asyncio
from sqlalchemy import Connection, event

from contracts.catalog_databases import database_of, opened
from contracts.catalog_plans import LAST_TASK, LISTS
from contracts.catalog_samples import AN_HOUR, STORE, add_active, add_expired, new_claim
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.deletion import delete
from imaged.core.limits import MIB
from imaged.core.outbox import DeliveryResult
from imaged.core.query import TaskQuery
from imaged.core.task import Progress, Task, TaskStatus, cancel
from support.postgresql import connected, fresh_database

pytestmark = pytest.mark.asyncio(loop_scope="module")


#: Of a hundred images ten are being saved, one is staged, one can be restored, one is deleted and
#: two are public; one in a thousand waits for a worker. A thousand projects have ten each.
FILLING = """
    INSERT INTO images (id, owner, name, visibility, protected, hidden, min_ram_mib, min_disk_gib,
        tags, properties, status, since, deleted_from, created_at, updated_at, version,
        size_bytes, checksum, hash_algorithm, hash_value)
    SELECT 'image' || n, 'owner' || n % 1000, 'name' || n,
        CASE WHEN n % 50 = 0 THEN 'public' ELSE 'shared' END, false, false, 0, 0, '[]',
        json_build_object('k', md5(n::text) || repeat('v', 600)), status,
        now() - n * interval '1 minute',
        CASE WHEN status = 'pending_delete' THEN 'active' END,
        now() - n * interval '1 minute', now() - n * interval '1 minute', 3,
        CASE WHEN complete THEN 10 END, CASE WHEN complete THEN 'a' END,
        CASE WHEN complete THEN 'b' END, CASE WHEN complete THEN 'c' END
    FROM (SELECT n, status, status IN ('active', 'pending_delete') AS complete
        FROM (SELECT n, CASE n % 100 WHEN 0 THEN 'pending_delete' WHEN 1 THEN 'deleted'
            WHEN 2 THEN 'uploading' ELSE CASE n % 10 WHEN 3 THEN 'saving' ELSE 'active' END
            END AS status FROM generate_series(1, 10000) n) a) b;
    INSERT INTO image_tags SELECT id, 'tag' || version || substr(id, 7) FROM images;
    INSERT INTO image_members SELECT id, 'owner' || (substr(id, 6)::int + 1) % 1000,
        CASE WHEN substr(id, 6)::int % 4 = 0 THEN 'pending' ELSE 'accepted' END, now(), now()
    FROM images WHERE id LIKE 'image%';
    INSERT INTO image_properties SELECT id, 'k', 'v' || id FROM images;
    INSERT INTO blobs (key, store, size_bytes, state, holders, due_at, failures)
    SELECT lpad(n::text, 60, '0'), 'local', 10, CASE WHEN doomed THEN 'doomed' ELSE 'kept' END,
        CASE WHEN doomed THEN 0 ELSE 1 END, CASE WHEN doomed THEN now() - n * interval '1 s' END, 0
    FROM (SELECT n, n % 100 = 0 AS doomed FROM generate_series(1, 10000) n) a;
    INSERT INTO image_locations SELECT 'image' || n, lpad(n::text, 60, '0'), 0
    FROM generate_series(1, 10000) n;
    INSERT INTO task_records (id, type, owner, user_id, roles, input, image_id, status, attempts,
        max_attempts, result, keep_for, expires_at, created_at, updated_at, token, holder, lease,
        until)
    SELECT 'task' || n, 'verify', 'owner' || n % 1000, 'ann', '[]', json_build_object('k',
        md5(n::text) || repeat('v', 600)), 'image' || n, status, 1, 3,
        CASE status WHEN 'success' THEN '{}'::json END, 1,
        CASE status WHEN 'success' THEN now() + n * interval '1 minute' END,
        now() - n * interval '1 minute', now() - n * interval '1 minute',
        CASE status WHEN 'processing' THEN gen_random_uuid() END,
        CASE status WHEN 'processing' THEN 'one' END,
        CASE status WHEN 'processing' THEN 60000000 END,
        CASE status WHEN 'processing' THEN now() + interval '1 minute' END
    FROM (SELECT n, CASE n % 1000 WHEN 4 THEN 'pending' WHEN 5 THEN 'processing' ELSE 'success'
        END AS status FROM generate_series(1, 10000) n) a;
    INSERT INTO outbox (id, queue, number, type, priority, subject, payload, created_at, due_at,
        failures)
    SELECT gen_random_uuid(), 'image' || n % 3000, n, 'image.update', 'INFO', 'images/i',
        json_build_object('k', md5(n::text) || repeat('v', 600)), now() - n * interval '1 s',
        now() - n * interval '1 s', CASE WHEN n % 100 = 0 THEN 1 ELSE 0 END
    FROM generate_series(1, 10000) n;
    INSERT INTO claims SELECT gen_random_uuid(), id, 'one', 60000000, now() + interval '1 minute'
    FROM images WHERE status = 'saving';
"""

SMALL = {"claims", "instances", "alembic_version", "compatibility", "accounts", "places"}


class Plans:
    """The plans of all statements that were executed."""

    def __init__(self, catalog: SqlCatalog) -> None:
        self.nodes: list[dict[str, Any]] = []
        self._engine = database_of(catalog).engine.sync_engine
        self._is_explaining = False

    def __enter__(self) -> Self:
        event.listen(self._engine, "before_cursor_execute", self._explain)
        return self

    def __exit__(self, *_: object) -> None:
        event.remove(self._engine, "before_cursor_execute", self._explain)

    def _explain(
        self, db: Connection, cursor: object, statement: str, values: Any, *rest: object
    ) -> None:
        del cursor, rest
        if not statement.startswith(("SELECT", "UPDATE", "DELETE", "INSERT")):
            return
        values = values[0] if isinstance(values, list) else values
        asking = db.connection.cursor()
        asking.execute(f"EXPLAIN (FORMAT JSON) {statement}", values)
        ((plans,),) = asking.fetchall()
        self._note(plans[0]["Plan"])

    def _note(self, node: dict[str, Any]) -> None:
        self.nodes.append(node)
        for inner in node.get("Plans", ()):
            self._note(inner)

    @property
    def indexes(self) -> set[str]:
        """The indexes in use."""
        return {node["Index Name"] for node in self.nodes if "Index Name" in node}

    @property
    def scans(self) -> set[str]:
        """The tables that were scanned in full, except small ones."""
        looked = (node for node in self.nodes if node["Node Type"] == "Seq Scan")
        return {node["Relation Name"] for node in looked} - SMALL


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def catalog() -> AsyncIterator[SqlCatalog]:
    """With ten thousand images, and current statistics."""
    async with fresh_database() as url, opened(url) as catalog:
        await add_active(catalog, "active")
        await add_expired(catalog, "expired")
        async with connected(url) as db:
            await db.execute("SET synchronous_commit = on")  # no index alone can answer a negation
            await db.execute(FILLING)
            await db.execute("VACUUM ANALYZE")
        database_of(catalog).connector.is_pooled = True  # so SQLAlchemy tells of each statement
        yield catalog


@pytest.mark.parametrize("name", LISTS)
async def test_lists_use_an_index(catalog: SqlCatalog, name: str) -> None:
    """No list scans every image."""
    query, index = LISTS[name]
    with Plans(catalog) as plans:
        await catalog.list_page(query, 8 * MIB)

    assert index in plans.indexes, plans.nodes
    assert plans.scans == set()


def _cancelled(task: Task) -> Task:
    return cancel(task, "enough")


#: Each with an index that it must use; if there are two, either.
DUTIES: dict[str, tuple[Callable[[SqlCatalog], Any], str]] = {
    "find_expirable": (lambda c: c.find_expirable(AN_HOUR, 10), "images_restorable"),
    "find_pending_tasks": (
        lambda c: c.find_pending_tasks(["import", "verify"], 10),
        "task_records_waiting",
    ),
    "count_unfinished_tasks": (
        lambda c: c.count_unfinished_tasks("owner7"),
        "task_records_waiting task_records_owner",
    ),
    "expire_tasks": (lambda c: c.expire_tasks(10), "task_records_expiring"),
    "get_task": (lambda c: c.get_task("task7"), "task_records_pkey"),
    "modify_task": (lambda c: c.modify_task("task4", _cancelled), "task_records_pkey"),
    "update_task_progress": (
        lambda c: c.update_task_progress("task5", 1, Progress("reading")),
        "task_records_pkey",
    ),
    "list_attempts": (lambda c: c.list_attempts(), "task_records_token"),
    "lapsed tasks": (lambda c: c.find_lapsed(10), "task_records_until"),
    "leases of tasks": (lambda c: c.renew_leases([new_claim()]), "task_records_token"),
    "tasks": (lambda c: c.list_tasks(TaskQuery()), "task_records_created"),
    "tasks, next page": (
        lambda c: c.list_tasks(TaskQuery(after=LAST_TASK)),
        "task_records_created",
    ),
    "tasks of an owner": (
        lambda c: c.list_tasks(TaskQuery(owner="owner7")),
        "task_records_owner",
    ),
    "tasks of an image": (
        lambda c: c.list_tasks(TaskQuery(image_id="image7")),
        "task_records_image",
    ),
    "tasks in one status": (
        lambda c: c.list_tasks(TaskQuery(status=TaskStatus.PENDING)),
        "task_records_status task_records_waiting",
    ),
    "find_staged": (lambda c: c.find_staged(AN_HOUR, 10), "images_since images_status"),
    "purge": (lambda c: c.purge(10_000 * AN_HOUR, 10), "images_since"),
    "take_doomed": (lambda c: c.take_doomed(10, AN_HOUR), "blobs_due"),
    "list_doomed": (lambda c: c.list_doomed(10), "blobs_due"),
    "find_lapsed": (lambda c: c.find_lapsed(10), "claims_until"),
    "renew_leases": (lambda c: c.renew_leases([new_claim()]), "claims_pkey"),
    "list_keys": (lambda c: c.list_keys(STORE, f"{55:058}"), "blobs_store blobs_pkey"),
    "list_kept": (lambda c: c.list_kept(STORE, f"{55:058}"), "blobs_store blobs_pkey"),
    "remove_blob": (lambda c: c.remove_blob("expired/1"), "blobs_pkey"),
    "get_image": (lambda c: c.get_image("active"), "images_pkey"),
    "modify_image": (lambda c: c.modify_image("active", delete(delayed=True)), "images_pkey"),
}


@pytest.mark.parametrize("name", DUTIES)
async def test_duties_use_an_index(catalog: SqlCatalog, name: str) -> None:
    """Frequent background queries cost as much as is due, not as much as there is."""
    ask, index = DUTIES[name]
    with Plans(catalog) as plans:
        await ask(catalog)

    assert plans.indexes & set(index.split()), plans.nodes
    assert plans.scans == set()


async def test_the_outbox_is_read_in_the_order_of_indexes(catalog: SqlCatalog) -> None:
    """However many events wait."""
    with Plans(catalog) as plans:
        taken = await catalog.take_events(8, 32, AN_HOUR)
        result = DeliveryResult([one.id for one in taken[0]], untried=[taken[1][0].id])
        await catalog.settle_events(result)
        await catalog.drop_events(10 * AN_HOUR, 1_000_000, 10)
        await catalog.list_events(10)

    assert len(taken) == 8
    assert plans.scans == set()


async def test_a_summary_counts_in_indexes(catalog: SqlCatalog) -> None:
    """It scans no large table, except for the restorable images."""
    with Plans(catalog) as plans:
        await catalog.summarize()

    counting = {"images_restorable", "blobs_stock", "blobs_due", "task_records_status"}
    assert counting <= plans.indexes
    assert plans.indexes & {"images_since", "images_status"}
    assert plans.scans == set()
