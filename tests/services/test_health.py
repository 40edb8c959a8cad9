"""Heartbeat: an instance is there as long as it says so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.claim import InstanceId
from imaged.core.summary import Instance, InstanceReport, StoreSpace
from imaged.ports.catalog import Catalog
from imaged.ports.store import Stores
from imaged.services.health import (
    MAX_TROUBLE_LENGTH,
    MAX_TROUBLES,
    SHOWN_SILENT_LEASES,
    UNREGISTER_SECONDS,
    Health,
    Heartbeat,
)
from imaged.services.periodic import run_periodically
from imaged.testing.memory_store import MemoryStore
from support.cluster import Cluster
from support.faults import catalog_fails, hangs, override_calls, store_fails
from support.node import LEASE, RENEW_EVERY
from support.virtual_time import VIRTUAL_START, elapsed

pytestmark = pytest.mark.anyio

SILENCE = SHOWN_SILENT_LEASES * LEASE.total_seconds()


def present(cluster: Cluster, name: str = "one", catalog: Catalog | None = None) -> Heartbeat:
    """An instance that has not said anything yet."""
    instance = Instance(InstanceId(name), "1.0", ("api", "scrubber"))
    return Heartbeat(catalog or cluster.catalog, instance, LEASE)


async def names(cluster: Cluster) -> list[str]:
    """The registered instances."""
    return [instance.id for instance in (await cluster.catalog.summarize()).instances]


async def test_an_instance_is_one_row(cluster: Cluster) -> None:
    """With its version, its roles, since when it is there, and when it was seen."""
    presence = present(cluster)
    cluster.start(run_periodically("presence", presence.send, lambda: RENEW_EVERY))

    await anyio.sleep(1000)
    (instance,) = (await cluster.catalog.summarize()).instances

    assert (instance.id, instance.version, instance.roles) == ("one", "1.0", ("api", "scrubber"))
    assert instance.started_at == VIRTUAL_START
    assert instance.seen_at is not None
    assert cluster.now() - instance.seen_at < 2 * RENEW_EVERY


async def test_a_silent_one_is_forgotten_after_a_while(cluster: Cluster) -> None:
    """By another instance; before that, operators see that it is silent."""
    await present(cluster, "dead").send()
    living = present(cluster, "living")

    await anyio.sleep(SILENCE - 1)
    await living.send()
    assert await names(cluster) == ["dead", "living"]
    await anyio.sleep(1)
    await living.send()

    assert await names(cluster) == ["living"]


async def test_one_that_ends_leaves_at_once(cluster: Cluster) -> None:
    """The others stay."""
    leaving, staying = present(cluster, "leaving"), present(cluster, "staying")
    await leaving.send()
    await staying.send()
    await leaving.stop()
    assert await names(cluster) == ["staying"]


async def test_to_leave_a_catalog_that_fails_is_no_crash(cluster: Cluster) -> None:
    """It is told, and the process ends as it should."""
    presence = present(
        cluster, catalog=override_calls(cluster.catalog, unregister_instance=catalog_fails)
    )
    await presence.send()
    with capture_logs() as lines:
        await presence.stop()
    assert [line["event"] for line in lines] == ["instance.leave_failed"]


async def test_to_leave_a_catalog_that_hangs_takes_not_for_ever(cluster: Cluster) -> None:
    """The process ends without waiting for it."""
    presence = present(cluster, catalog=override_calls(cluster.catalog, unregister_instance=hangs))
    await presence.stop()
    assert elapsed() == UNREGISTER_SECONDS


async def test_to_leave_works_when_all_is_cancelled(cluster: Cluster) -> None:
    """The end of a process cancels everything."""
    presence = present(cluster)
    await presence.send()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await presence.stop()
    assert await names(cluster) == []


async def test_a_beat_reports_what_only_the_instance_knows(cluster: Cluster) -> None:
    """Space of the stores that have a limit and answer, and the last reload."""
    small, gone = MemoryStore("small", capacity_bytes=30), MemoryStore("gone", capacity_bytes=30)
    failing = override_calls(gone, check=store_fails)
    stores = {"small": small, "gone": failing, "endless": MemoryStore("endless")}
    health = Health(cluster.catalog, Stores("small", stores))
    instance = Instance(InstanceId("one"), "1.0", ())
    await health.troubles()
    health.reloaded(successfully=False)

    assert health.spaces == {"small": StoreSpace(30, 30, 0)}
    assert health.known_troubles() == ("store gone",)
    assert health.failing_part_seconds() == {"store gone": 0}
    assert (health.is_reload_rejected, health.reloaded_at) == (True, anyio.current_time())

    report = InstanceReport(spaces=health.spaces, is_reload_rejected=True)
    await Heartbeat(cluster.catalog, instance, LEASE, report=lambda: report).send()
    (told,) = (await cluster.catalog.summarize()).instances
    assert told.report == report


async def test_since_when_a_part_fails(cluster: Cluster) -> None:
    """From the check that found it, until one finds that it works, whatever else happens."""
    answer: Callable[..., Awaitable[object]] = store_fails
    store = override_calls(MemoryStore("gone"), check=lambda *_: answer())
    health = Health(cluster.catalog, Stores("gone", {"gone": store}))

    async def looked_after(seconds: float) -> Mapping[str, float]:
        await anyio.sleep(seconds)
        await health.troubles()
        return health.failing_part_seconds()

    assert await looked_after(0) == {"store gone": 0}
    assert await looked_after(60) == {"store gone": 60}
    answer = catalog_fails
    assert await looked_after(60) == {"store gone": 120}
    answer = MemoryStore("gone").check
    assert await looked_after(60) == {}
    answer = store_fails
    assert await looked_after(60) == {"store gone": 0}


async def test_a_beat_says_what_troubles_there_are(cluster: Cluster) -> None:
    """As they are then; so many, and each so long, that the row stays small."""
    troubles = ["x" * 1000] * 50
    instance = Instance(InstanceId("one"), "1.0", ())
    presence = Heartbeat(cluster.catalog, instance, LEASE, lambda: troubles)

    await presence.send()
    (ill,) = (await cluster.catalog.summarize()).instances
    troubles.clear()
    await presence.send()
    (well,) = (await cluster.catalog.summarize()).instances

    assert ill.troubles == ("x" * MAX_TROUBLE_LENGTH,) * MAX_TROUBLES
    assert well.troubles == ()
