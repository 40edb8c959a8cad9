"""The metrics page: complete, bounded, and robust against parts that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from imaged.config import load
from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.errors import CatalogError
from imaged.core.lifecycle import Status
from imaged.core.summary import BlobUsage, Instance, StoreSpace, Summary, TaskCount
from imaged.core.task import TaskStatus
from imaged.daemon.background_jobs import job_names
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from imaged.metrics.counters import Counters
from imaged.metrics.instruments import ExpositionWriter, Instruments
from imaged.metrics.state_collector import CachedProbe, StateCollector
from imaged.metrics.state_gauges import StateSnapshot
from imaged.server.connections import CloseReason
from imaged.services.health import Health
from imaged.services.reconciler import ReconcileReport
from references.metrics import all_families
from support.command import Workspace
from support.faults import catalog_fails, override_calls
from support.service import Service

pytestmark = pytest.mark.asyncio

NOW = datetime(2026, 11, 20, tzinfo=UTC)
STORES = ("local", "near", "far")
LEASE = timedelta(minutes=1)
MOST_SERIES = 520
#: What a busy instance answers beside 200.
ANSWERS = (("read", 404), ("write", 201), ("write", 204), ("data", 204))
DUTIES = job_names(("api", "scrubber", "tasks"))
TYPES = (
    *("import", "export", "clone", "convert", "verify"),
    *("api_image_import", "location_import"),
)

FULL = Summary(
    at=NOW,
    instances=[
        Instance(InstanceId("a"), "1", ("api",), NOW, NOW - LEASE / 2),
        Instance(InstanceId("b"), "1", ("api",), NOW, NOW - LEASE * 2),
    ],
    held_images=[],
    images={Status.ACTIVE: 7, Status.SAVING: 2},
    blob_usage=[
        BlobUsage(store, state, 3, 1024, failing=1) for store in STORES for state in BlobState
    ],
    restorable=1,
    restorable_bytes=512,
    oldest_due_at=NOW - timedelta(seconds=90),
    oldest={Status.ACTIVE: NOW - timedelta(days=1), Status.SAVING: NOW - timedelta(minutes=3)},
    tasks=[
        TaskCount("import", TaskStatus.PENDING, 4, NOW - timedelta(minutes=2)),
        TaskCount("import", TaskStatus.PROCESSING, 2, NOW - timedelta(minutes=9)),
        TaskCount("verify", TaskStatus.SUCCESS, 70, NOW - timedelta(hours=9)),
        TaskCount("gone", TaskStatus.FAILURE, 1, NOW - timedelta(hours=9)),
    ],
    damaged=1,
)


def figures(summary: Summary | None = FULL) -> StateSnapshot:
    """A snapshot of the state."""
    return StateSnapshot(
        summary=summary,
        is_ready=True,
        stores_up=dict.fromkeys(STORES, True),
        spaces=dict.fromkeys(STORES, StoreSpace(100, 10, 5)),
        task_types=TYPES,
        last_backup_at=NOW,
    )


def pages(found: StateSnapshot) -> ExpositionWriter:
    """An instance's page."""
    instruments = Instruments(stores=STORES, duties=DUTIES)
    instruments.tasks.register_types(TYPES)
    for kind, status in ANSWERS:
        instruments.requests.count(kind, status, 1)
    ended = dict.fromkeys(map(str, CloseReason), 0)
    counters = Counters(reconciled=ReconcileReport(), connections_ended=ended)
    instruments.register_counters(lambda: counters)

    async def probe() -> StateSnapshot:
        return found

    return ExpositionWriter(instruments.registry, probe)


async def written(found: StateSnapshot) -> dict[str, float]:
    """Parse a page as Prometheus does, into series and values."""
    page = await pages(found).write()
    return {
        sample.name
        + "".join(
            f" {label}={value}" for label, value in sorted(sample.labels.items())
        ): sample.value
        for family in text_string_to_metric_families(page.body.decode())
        for sample in family.samples
    }


async def test_the_number_of_series_is_limited() -> None:
    """The number of series with three stores, the built-in task types and all labels."""
    series = await written(figures())

    assert len(series) <= MOST_SERIES
    assert not [name for name in series if name.endswith("_created")]  # they would be twice as many


async def test_the_types_are_those_that_there_are(tmp_path: Path) -> None:
    """The task types of the test above are the built-in ones."""
    (tmp_path / "images").mkdir()
    config = load(Workspace(tmp_path).write(), {})
    async with open_drivers(config) as parts:
        assert sorted(ServiceContainer(parts, config).task_service.registry.names) == sorted(TYPES)


async def test_every_value_of_a_label_is_there_from_the_start() -> None:
    """Series start at 0, so that rates are right; no label names an image or a project."""
    series = await written(figures())
    labels = {label for family in all_families() for one in family.samples for label in one.labels}

    assert series["imaged_transfers_total direction=upload outcome=failed"] == 0
    assert series["imaged_store_errors_total operation=put store=far"] == 0
    assert series["imaged_tasks_ended_total outcome=failure type=location_import"] == 0
    assert series["imaged_duty_failures_total duty=reconcile"] == 0
    assert series["imaged_quota_refusals_total resource=images"] == 0
    assert labels == {
        "answer", "code", "direction", "duty", "kind", "le", "operation", "outcome", "presence",
        "process", "python", "reason", "resource", "state", "status", "store", "type", "version",
    }  # fmt: skip


async def test_the_catalogs_figures() -> None:
    """Every status and every store has a series, even at 0."""
    series = await written(figures())

    assert series["imaged_images status=active"] == 7
    assert series["imaged_images status=killed"] == 0
    assert series["imaged_oldest_image_seconds status=saving"] == 180
    assert series["imaged_oldest_image_seconds status=pending_delete"] == 0
    assert "imaged_oldest_image_seconds status=active" not in series
    assert series["imaged_blob_bytes state=kept store=near"] == 1024
    assert series["imaged_scrub_overdue_seconds"] == 90
    assert series["imaged_scrub_stuck_blobs"] == 9
    assert series["imaged_instances presence=here"] == 1
    assert series["imaged_instances presence=silent"] == 1
    assert series["imaged_catalog_up"] == 1
    assert series["imaged_store_size_bytes store=far"] == 100
    assert series["imaged_store_free_bytes store=far"] == 10
    assert series["imaged_store_min_free_bytes store=far"] == 5


async def test_the_figures_of_tasks() -> None:
    """Pending and processing tasks are gauges; ended tasks are counters."""
    series = await written(figures())

    assert series["imaged_tasks status=pending type=import"] == 4
    assert series["imaged_tasks status=processing type=import"] == 2
    assert series["imaged_tasks status=pending type=verify"] == 0
    assert series["imaged_oldest_pending_task_seconds type=import"] == 120
    assert series["imaged_oldest_pending_task_seconds type=verify"] == 0
    assert series["imaged_damaged_images"] == 1
    assert not [name for name in series if "type=gone" in name or "status=success" in name]


async def test_a_type_that_only_others_know_is_there_while_it_waits() -> None:
    """Tasks of unknown types are shown: an operator must find out why they wait."""
    waits = TaskCount("theirs", TaskStatus.PENDING, 1, NOW)
    series = await written(figures(replace(FULL, tasks=[waits])))

    assert series["imaged_tasks status=pending type=theirs"] == 1
    assert series["imaged_oldest_pending_task_seconds type=theirs"] == 0


async def test_a_due_moment_to_come_is_not_overdue() -> None:
    """Doomed blobs may wait for a lease to expire."""
    series = await written(figures(replace(FULL, oldest_due_at=NOW + LEASE)))

    assert series["imaged_scrub_overdue_seconds"] == 0


async def test_without_the_catalog_its_figures_are_missing() -> None:
    """All other families are present."""
    series = await written(figures(summary=None))

    assert series["imaged_catalog_up"] == 0
    assert series["imaged_transfers_in_flight direction=upload"] == 0
    assert not [name for name in series if name.startswith("imaged_images")]


P = TypeVar("P", CachedProbe[Any], StateCollector)


@asynccontextmanager
async def running(probe: P) -> AsyncIterator[P]:
    """It asks in a task of its own."""
    task = asyncio.create_task(probe.run())
    try:
        yield probe
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("is_up", [True, False])
async def test_a_look_at_everything(service: Service, *, is_up: bool) -> None:
    """The snapshot has the catalog's summary, the free space and the health. A failing catalog is
    reported, and the stores are queried all the same.
    """
    await service.create_active()
    failing = override_calls(service.facts, summarize=catalog_fails, check=catalog_fails)
    catalog = service.facts if is_up else failing
    health = Health(catalog, service.stores)
    async with running(StateCollector(catalog, service.stores, health, LEASE)) as collector:
        found = await collector.collect()

    assert (found.is_ready, found.stores_up) == (is_up, {"local": True, "near": True})
    assert found.spaces == {}  # the memory store is unlimited
    assert abs(found.clock_offset) < timedelta(seconds=30)
    if is_up:
        assert found.summary is not None
        assert found.summary.images == {Status.ACTIVE: 1}
    else:
        assert found.summary is None


@pytest.mark.parametrize("fails", [False, True])
async def test_concurrent_readers_share_one_probe(*, fails: bool) -> None:
    """Ten scrapers cause the load of one; results are cached for a while. So is a failure: a part
    in trouble is not queried again at once.
    """
    queries = 0

    async def source() -> int:
        nonlocal queries
        queries += 1
        await asyncio.sleep(0)
        if fails:
            raise CatalogError("It does not answer.")
        return queries

    async with running(CachedProbe(source)) as probe:
        await asyncio.gather(*(probe.refresh() for _ in range(10)))
        await probe.refresh()

    assert (queries, probe.value) == (1, None if fails else 1)


async def test_a_look_that_hangs_is_waited_for_but_not_for_ever() -> None:
    """Callers of a hanging query get None, and only one query runs at a time."""
    queries, answers = 0, asyncio.Event()

    async def source() -> str:
        nonlocal queries
        queries += 1
        await answers.wait()
        return "late"

    async with running(CachedProbe(source)) as probe:
        probe.wait_seconds = 0.01
        for _ in range(3):
            await probe.refresh()
            assert probe.value is None
        answers.set()
        probe.wait_seconds = 30
        await probe.refresh()

    assert (queries, probe.value) == (1, "late")


async def test_both_formats_are_spoken() -> None:
    """The text format by default, and OpenMetrics on request."""
    plain = await pages(figures()).write()
    open_metrics = await pages(figures()).write("application/openmetrics-text; version=1.0.0")

    assert plain.media_type.startswith("text/plain; version=0.0.4")
    assert open_metrics.media_type.startswith("application/openmetrics-text; version=1.0.0")
    assert open_metrics.body.endswith(b"# EOF\n")
