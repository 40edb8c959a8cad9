"""Periodic jobs of an instance."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from imaged.catalogs.sqlite.driver import SqliteDatabase, SqliteSettings
from imaged.config import load
from imaged.config.sections import Role
from imaged.core.task import TaskStatus
from imaged.daemon.background_jobs import BackgroundJobs, PeriodicJob, job_names
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from imaged.daemon.process_counters import read_counters
from support.command import Workspace
from support.faults import store_fails
from support.quotas import limit_total
from support.sample_images import task

LOOKS = 5
DEADLINE_SECONDS = 10


async def until_asked(counts: Counter[str], what: str, times: int) -> None:
    """Wait until the count is reached."""
    with anyio.fail_after(DEADLINE_SECONDS):
        while counts[what] < times:
            await checkpoint()


@pytest.mark.parametrize(
    ("roles", "names"),
    [
        (["api"], ["sent_downloads"]),
        (["tasks"], ["sweeper"]),
        (["scrubber"], ["sweeper", "scrubber", "reconcile", "notifications"]),
    ],
)
def test_jobs_of_roles(roles: list[Role], names: list[str]) -> None:
    """Every instance takes work back, expires tasks, shortens the log and recounts accounts."""
    assert job_names(roles) == ["reclaimer", "task_expiry", "checkpoint", "accounts", *names]


def test_a_duty_that_is_off_is_not_done_until_it_is_on() -> None:
    """A disabled job runs neither at start nor when woken; a reload that enables it runs it."""
    counts: Counter[str] = Counter()
    pause = timedelta(0)

    def every() -> timedelta:
        counts["asked"] += 1
        return pause

    async def once() -> None:
        counts["done"] += 1
        await checkpoint()

    async def scenario() -> None:
        nonlocal pause
        job = PeriodicJob("sweep", once, every)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.run)
            for look in range(1, LOOKS):
                job.wake()
                await until_asked(counts, "asked", 2 * look)
            assert counts["done"] == 0
            pause = timedelta(hours=1)
            job.wake()
            await until_asked(counts, "done", 1)
            job.stop()

    anyio.run(scenario)


def test_a_duty_knows_when_it_is_next_done() -> None:
    """``next_in`` is the rest of the pause, 0 during a round, and None for a disabled job."""
    pause = timedelta(hours=1)
    left: list[timedelta | None] = []
    job: PeriodicJob

    async def once() -> None:
        left.append(job.next_in)
        await checkpoint()

    async def scenario() -> None:
        nonlocal job, pause
        job = PeriodicJob("sweep", once, lambda: pause)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(job.run)
            with anyio.fail_after(DEADLINE_SECONDS):
                while not job.next_in:
                    await checkpoint()
            left.append(job.next_in)
            pause = timedelta(0)
            left.append(job.next_in)
            job.stop()

    anyio.run(scenario)

    during, after, off = left
    assert (during, off) == (timedelta(0), None)
    assert after is not None
    assert timedelta(minutes=50) < after < timedelta(minutes=70)


@pytest.mark.parametrize("roles", [("api",), ("scrubber",)])
def test_every_instance_cuts_a_long_log_off(roles: tuple[Role, ...], tmp_path: Path) -> None:
    """The log is shortened without further writes."""
    (tmp_path / "images").mkdir()
    config = load(Workspace(tmp_path).write(f"[daemon]\nroles = {json.dumps(roles)}"), {})

    async def scenario() -> None:
        async with open_drivers(config) as parts, anyio.create_task_group() as tasks:
            await limit_total(parts.catalog, "project", 1)
            assert parts.database.log_bytes
            assert isinstance(parts.database, SqliteDatabase)
            parts.database.settings = SqliteSettings(long_log_bytes=0)
            services, often = ServiceContainer(parts, config), timedelta(milliseconds=10)
            BackgroundJobs(services, lambda: config, checkpoint_every=often).start(tasks)
            with anyio.fail_after(DEADLINE_SECONDS):
                while parts.database.log_bytes:
                    await checkpoint()
            tasks.cancel_scope.cancel()

    anyio.run(scenario)


def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    """By the status of the instance, by its health and by its metrics."""
    more = f"[exports.archive]\ntype = 'filesystem'\npath = '{tmp_path / 'archive'}'"
    config = load(Workspace(tmp_path).write(more), {})

    async def scenario() -> None:
        async with open_drivers(config) as parts:
            services = ServiceContainer(parts, config)
            for postponed in services.postponed:
                await postponed.try_item("one", store_fails)
            await services.sweeper.run_due()  # in a folder that is not there
            counters = read_counters(parts, services)

            duties = {"reclaimer", "scrubber", "sweeper", "task_expiry", "tasks"}
            assert counters.items_failed == counters.items_put_off == dict.fromkeys(duties, 1)
            assert {"exports.archive"} == {*services.health.degraded_parts()}
            beginnings = {trouble.partition(":")[0] for trouble in services.troubles}
            assert beginnings == {"exports.archive", *duties}

    anyio.run(scenario)


def test_a_task_that_nothing_can_run_ends_in_each_instance(tmp_path: Path) -> None:
    """After ``tasks.longest_pending``, by one of the periodic jobs."""
    config = load(Workspace(tmp_path).write("[tasks]\nlongest_pending = '1ms'"), {})

    async def scenario() -> None:
        async with open_drivers(config) as parts, anyio.create_task_group() as tasks:
            await parts.catalog.add_task(task("t", type="magic"))
            services = ServiceContainer(parts, config)
            jobs = BackgroundJobs(services, lambda: config)
            jobs.start(tasks)
            with anyio.fail_after(DEADLINE_SECONDS):
                while not (ended := await parts.catalog.get_task("t")).is_final:
                    jobs.wake()
            assert ended.status is TaskStatus.FAILURE
            tasks.cancel_scope.cancel()

    anyio.run(scenario)
