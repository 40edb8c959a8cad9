"""Status reports of an instance to systemd over time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from imaged.core.deletion import delete
from imaged.daemon.systemd import StatusReporter, SystemdNotifier
from imaged.ports.catalog import Catalog
from imaged.ports.store import Stores
from imaged.services.health import Health
from imaged.services.traffic import Traffic
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryStore
from support.faults import away, catalog_fails, override_calls
from support.sample_images import active
from support.service_manager import ServiceManager, listening_service_manager
from support.virtual_time import VirtualClock, virtual_trio

PATIENCE = timedelta(seconds=60)


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    """A fake systemd notifier."""
    with listening_service_manager(tmp_path) as manager:
        yield manager


@dataclass
class Instance:
    """The parts of a catalog that reports use."""

    manager: ServiceManager
    traffic: Traffic = field(default_factory=Traffic)
    catalog: Catalog = field(default_factory=lambda: MemoryCatalog(VirtualClock()))
    running: set[str] = field(default_factory=set)
    stores: Stores = field(default_factory=lambda: Stores("local", {"local": MemoryStore("local")}))

    def __post_init__(self) -> None:
        self.health = Health(self.catalog, self.stores)

    def status_reporter(self) -> StatusReporter:
        """Return the summary."""
        return StatusReporter(
            SystemdNotifier({"NOTIFY_SOCKET": self.manager.address}),
            self.catalog,
            lambda: self.traffic,
            lambda: self.running,
            self.health,
            roles=("api", "scrubber", "tasks"),
            next_scrub=lambda: timedelta(seconds=42),
        )

    async def status_after(self, seconds: float) -> str:
        """Return the last report after a time."""
        await anyio.sleep(seconds)
        return self.manager.heard()[-1]["STATUS"]


def play(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run the reporter in virtual time."""
    backend, options = virtual_trio()
    anyio.run(scenario, backend=backend, backend_options=options)


def test_the_catalog_is_counted_now_and_then(manager: ServiceManager) -> None:
    """The count of pending deletes is shown, and left out while it is unknown."""
    here = Instance(manager)

    async def scenario() -> None:
        image = await here.catalog.add_image(active())
        async with anyio.create_task_group() as tasks:
            here.status_reporter().start(tasks)
            assert "READY" in manager.heard()[0]
            before = await here.status_after(4)
            await here.catalog.modify_image(image.id, delete(delayed=True))
            here.running.add("a task")
            after = await here.status_after(40)
            tasks.cancel_scope.cancel()
        assert before == "ready: 0 uploads, 0 tasks, 0 pending delete, next scrub 42 s"
        assert after == "ready: 0 uploads, 1 task, 1 pending delete, next scrub 42 s"

    play(scenario)


def test_a_catalog_that_is_away_is_left_out(manager: ServiceManager) -> None:
    """If the catalog fails, the rest of the line remains."""
    here = Instance(manager)
    here.catalog = override_calls(here.catalog, summarize=catalog_fails)

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            here.status_reporter().start(tasks)
            assert await here.status_after(40) == "ready: 0 uploads, 0 tasks, next scrub 42 s"
            tasks.cancel_scope.cancel()

    play(scenario)


def test_the_state_is_that_of_readyz(manager: ServiceManager) -> None:
    """A store that fails is named until it works again, and so is a reload that was rejected."""
    failing = Stores("local", {"local": away(MemoryStore("local"), 20, 50)})
    here = Instance(manager, stores=failing)

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            here.status_reporter().start(tasks)
            assert (await here.status_after(10)).startswith("ready: 0 uploads")
            assert (await here.status_after(30)).startswith("not ready: store local: 0 uploads")
            here.health.reloaded(successfully=False)
            rejected = "ready, but the last reload was rejected: 0 uploads"
            assert (await here.status_after(16)).startswith(rejected)
            tasks.cancel_scope.cancel()

    play(scenario)


def test_the_rate_is_that_of_the_last_seconds(manager: ServiceManager) -> None:
    """An upload of 1 MiB/s is shown with its rate."""
    here = Instance(manager)

    async def receive() -> None:
        while True:
            here.traffic.received_bytes += 10_800  # a little more than 1 MiB/s
            await anyio.sleep(0.01)

    async def scenario() -> None:
        async with anyio.create_task_group() as tasks:
            here.status_reporter().start(tasks)
            with here.traffic.uploading():
                tasks.start_soon(receive)
                assert "1 upload (1.0 MiB/s)" in await here.status_after(20)
            tasks.cancel_scope.cancel()

    play(scenario)


def test_a_drain_asks_for_time_until_it_should_be_over(manager: ServiceManager) -> None:
    """Each report extends the timeout by 30 s, until 30 s after drain_timeout."""
    here = Instance(manager)
    asked_at: list[float] = []

    async def scenario() -> None:
        status_reporter = here.status_reporter()
        async with anyio.create_task_group() as tasks:
            status_reporter.start(tasks)
            manager.heard()
            began_at = anyio.current_time()
            status_reporter.draining(PATIENCE)
            for _ in range(200):
                for message in manager.heard():
                    assert (message["STOPPING"], message["EXTEND_TIMEOUT_USEC"]) == (
                        "1",
                        "30000000",
                    )
                    asked_at.append(anyio.current_time() - began_at)
                await anyio.sleep(1)
            tasks.cancel_scope.cancel()

    play(scenario)

    assert max(later - sooner for sooner, later in pairwise(asked_at)) < 10
    assert 80 < asked_at[-1] <= 90
