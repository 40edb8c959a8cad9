"""A clock that steps: nothing is deleted, no instance is taken for dead, no work waits endlessly.

The machine's uptime is virtual time; the catalog's clock is that and what it was set ahead by.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import anyio
import pytest
from structlog.testing import capture_logs

from contracts.catalog_samples import held_by, new_claim
from imaged.core.blob import make_key
from imaged.core.image import BrokenUpload, Location
from imaged.core.lifecycle import Status
from imaged.core.task import cancel
from imaged.core.uploading import begin_upload
from imaged.services.periodic import ItemBackoff
from imaged.services.tasks.cleanup import UnrunnableTaskReaper
from support.bodies import send
from support.cluster import Cluster
from support.faults import nth, override_calls, pause
from support.node import LEASE, RENEW_EVERY, A, B, Node, image_id, virtual_uptime
from support.reversed_secret_box import ReversedSecretBox
from support.sample_images import task
from support.settings import clock_guard
from support.virtual_time import VirtualClock

pytestmark = pytest.mark.anyio

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DELAY = timedelta(hours=24)
C = image_id(0xC3)
STRAY = make_key(C, UUID(int=1))


class SetClock(VirtualClock):
    """A clock that can be set."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        """What it says."""
        return super().now() + self.ahead


@pytest.fixture
def clock(cluster: Cluster) -> SetClock:
    """The catalog's."""
    clock = SetClock()
    cluster.clock = cluster.catalog._clock = clock
    return clock


async def scrub(*nodes: Node) -> int:
    """One round of each; how many images and blobs went."""
    reports = [await node.scrubber.run_due() for node in nodes]
    return sum(report.expired + report.deleted + report.buried for report in reports)


async def test_a_clock_a_day_ahead_scrubs_nothing(cluster: Cluster, clock: SetClock) -> None:
    """25 h ahead for some rounds, and back: what was deleted can still be restored."""
    await cluster.active(A)
    node = cluster.node(delay=DELAY)
    await node.delete(A)
    await scrub(node)

    clock.ahead = timedelta(hours=25)
    with capture_logs() as lines:
        for _ in range(10):
            assert not await scrub(node)
            await anyio.sleep(30)
    told = [line for line in lines if line["event"] == "clock.stepped"]
    clock.ahead = timedelta(0)
    assert not await scrub(node)

    assert (await node.restore(A)).status is Status.ACTIVE
    assert [(line["log_level"], line["step_s"]) for line in told] == [("critical", 90_000)]
    assert not node.clock.troubles


async def test_a_step_is_waited_out(cluster: Cluster, clock: SetClock) -> None:
    """Without an operator: after as much time as was skipped, what is due is really due."""
    await cluster.active(A)
    node = cluster.node(delay=DELAY, beats=False)
    await node.delete(A)
    await scrub(node)
    clock.ahead = timedelta(hours=25)

    await scrub(node)
    assert "imaged scrub --confirm-clock" in node.clock.troubles[0]
    await anyio.sleep(timedelta(hours=24, minutes=59).total_seconds())
    assert not await scrub(node)
    await anyio.sleep(60)

    assert await scrub(node) == 2


async def require_kept_for_a_day(node: Node) -> None:
    """Scrub once an hour: nothing goes in the first 24 hours, both files go after them."""
    for _ in range(24):
        assert not await scrub(node)
        await anyio.sleep(HOUR.total_seconds())

    assert await scrub(node) == 2


@pytest.mark.parametrize("step", [2 * HOUR, 10 * HOUR, 23 * HOUR])
async def test_a_step_that_is_shorter_than_the_delay(
    cluster: Cluster, clock: SetClock, step: timedelta
) -> None:
    """What was deleted before it can be restored for as long as was promised, by real time."""
    await cluster.active(A)
    node = cluster.node(delay=DELAY, beats=False)
    await scrub(node)
    await node.delete(A)
    clock.ahead = step
    await require_kept_for_a_day(node)


async def test_deletions_while_the_clock_was_behind(cluster: Cluster, clock: SetClock) -> None:
    """It was dated a day ago; when the clock is set right, it can be restored all the same."""
    await cluster.active(A)
    node = cluster.node(delay=DELAY, beats=False)
    await scrub(node)
    clock.ahead = -25 * HOUR
    await scrub(node)
    await node.delete(A)
    await anyio.sleep(HOUR.total_seconds())
    clock.ahead = timedelta(0)

    await require_kept_for_a_day(node)


async def test_an_operator_confirms(cluster: Cluster, clock: SetClock) -> None:
    """In a process of his own; every instance believes the clock from its next look."""
    await cluster.active(A)
    nodes = [cluster.node(name, delay=DELAY) for name in "ab"]
    await nodes[0].delete(A)
    await scrub(*nodes)
    clock.ahead = timedelta(hours=25)
    assert not await scrub(*nodes)

    await clock_guard(cluster.catalog, virtual_uptime).confirm()

    assert await scrub(*nodes) == 2
    assert not [node.clock.troubles for node in nodes if node.clock.troubles]


async def test_a_start_with_a_wrong_clock_is_noticed(cluster: Cluster, clock: SetClock) -> None:
    """The catalog remembers the last moment that was believed; and a restart forgets no step."""
    await cluster.active(A)
    node = cluster.node("before", delay=DELAY)
    await node.delete(A)
    await scrub(node)
    clock.ahead = timedelta(hours=25)

    started, restarted = (cluster.node(name, delay=DELAY) for name in ("started", "restarted"))
    for one in (started, restarted):
        assert not await scrub(one)
        assert one.clock.troubles
        await anyio.sleep(60)
    newest = cluster.node("newest", delay=DELAY)
    preview = await newest.scrubber.preview()
    assert preview.waits_for_clock
    assert [image.id for image in preview.images] == [A]
    clock.ahead = timedelta(0)
    assert not await scrub(restarted)

    assert not restarted.clock.troubles
    assert not (await newest.scrubber.preview()).waits_for_clock
    assert (await cluster.image(A)).status is Status.PENDING_DELETE


async def test_a_machine_that_was_off_waits_an_hour(cluster: Cluster, clock: SetClock) -> None:
    """The time off is unknown: three days may be right."""
    await cluster.active(A)
    node = cluster.node(delay=DELAY)
    await node.delete(A)
    await scrub(node)
    clock.ahead = 3 * DAY

    started = cluster.node("started", delay=DELAY)
    started.scrubber._clock = clock_guard(cluster.catalog, lambda: ("other", virtual_uptime()[1]))
    assert not await scrub(started)
    await anyio.sleep(3600)

    assert await scrub(started) == 2


async def test_nothing_else_goes_by_a_clock_that_stepped(cluster: Cluster, clock: SetClock) -> None:
    """Neither staged bytes, records of tasks and images, strays, nor tasks of unknown types."""
    await cluster.queued(A)
    await cluster.queued(B)
    node = cluster.node()
    reaper = UnrunnableTaskReaper(
        cluster.catalog,
        node.task_service.registry,
        ReversedSecretBox(),
        node.clock,
        ItemBackoff("task_expiry", cluster.catalog.check),
        7 * DAY,
    )
    await cluster.catalog.add_task(task("strange", type="magic"))
    await reaper.run_due()
    await node.stage(A)
    await node.delete(B)
    await cluster.catalog.add_task(task("t"))
    await cluster.catalog.modify_task("t", lambda task: cancel(task, "enough"))
    node.reclaimer.remember_broken = DAY
    await cluster.queued(C)
    broken = BrokenUpload(10, 5, "0" * 32)
    await cluster.change(C, lambda image: replace(image, broken_upload=broken))
    await cluster.catalog.add_stray(Location("near", STRAY, 1), DAY)
    await node.reclaimer.run_due()
    await scrub(node)
    await node.task_service.expire_due()
    clock.ahead = 400 * DAY

    for _ in range(9):
        await node.reclaimer.run_due()
        assert not await scrub(node)
        assert not await node.task_service.expire_due()
        await reaper.run_due()
        await anyio.sleep(30)

    assert not (await cluster.catalog.get_task("strange")).is_final
    assert (await cluster.image(A)).status is Status.UPLOADING
    assert (await cluster.image(B)).status is Status.DELETED
    assert "t" in cluster.catalog.tasks
    assert STRAY in cluster.catalog.blobs
    assert (await cluster.image(C)).broken_upload is not None


async def test_a_step_within_a_round_ends_it(
    cluster: Cluster, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each batch is looked for by the clock of then: it is left alone, whatever it is."""
    await cluster.active(A)
    await cluster.queued(B)
    node = cluster.node(delay=DELAY)
    await node.delete(A)
    await node.delete(B)
    await cluster.catalog.add_stray(Location("near", STRAY, 1), DAY)
    await scrub(node)
    redate = cluster.catalog.redate

    async def redate_and_step(quarantine: timedelta) -> int:
        clock.ahead = 400 * DAY
        return await redate(quarantine)

    monkeypatch.setattr(cluster.catalog, "redate", redate_and_step)
    assert not await scrub(node)

    assert (await cluster.image(A)).status is Status.PENDING_DELETE
    assert (await cluster.image(B)).status is Status.DELETED
    assert STRAY in cluster.catalog.blobs


async def test_a_reboot_at_once_forgets_no_step(cluster: Cluster, clock: SetClock) -> None:
    """A step is stored when it is noticed: the next boot waits for the delay, not for an hour."""
    await cluster.active(A)
    node = cluster.node(delay=DELAY, beats=False)
    await node.delete(A)
    await scrub(node)
    clock.ahead = timedelta(hours=25)
    await scrub(node)

    started = cluster.node("started", delay=DELAY, beats=False)
    started.scrubber._clock = clock_guard(cluster.catalog, lambda: ("other", virtual_uptime()[1]))
    for _ in range(24):
        assert not await scrub(started)
        await anyio.sleep(HOUR.total_seconds())


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_slow_answer_is_no_step(cluster: Cluster, when: str) -> None:
    """The moment of a slow answer is uncertain; so is the time from it to the next one."""
    read = nth(cluster.catalog.read_clock, 2, **{when: pause(40)})
    guard = clock_guard(override_calls(cluster.catalog, read_clock=read), virtual_uptime)

    assert [await guard.are_leases_current(LEASE) for _ in range(3)] == [True] * 3


@pytest.mark.parametrize("step", [0 * DAY, 400 * DAY, 10 * LEASE, -10 * LEASE, -400 * DAY])
async def test_a_living_holder_keeps_its_work_over_a_step(
    cluster: Cluster, clock: SetClock, step: timedelta
) -> None:
    """Its lease seems to be over, or dated ahead, until it renews it by the new time."""
    await cluster.queued(A)
    node, other = cluster.node(), cluster.node("other")
    running = cluster.start(node.upload(A, send(chunks=40, every=10)))
    await anyio.sleep(RENEW_EVERY.total_seconds() / 2)
    await other.reclaimer.run_due()

    clock.ahead = step
    for _ in range(40):
        assert await other.reclaimer.run_due() == 0
        await anyio.sleep(10)

    assert (await running.outcome()).status is Status.ACTIVE


async def test_a_dead_holder_of_the_future_is_taken_back(cluster: Cluster, clock: SetClock) -> None:
    """A claim that was made while the clock was a year ahead lasts no year."""
    clock.ahead = 365 * DAY
    await cluster.queued(A)
    begun = held_by(new_claim(LEASE, "dead"), begin_upload(Location("near", "a/1", 1)))
    await cluster.change(A, begun)
    other = cluster.node("other")
    await other.reclaimer.run_due()
    clock.ahead = timedelta(0)

    for _ in range(2 * int(LEASE / RENEW_EVERY)):
        await other.reclaimer.run_due()
        await anyio.sleep(RENEW_EVERY.total_seconds())

    assert (await cluster.image(A)).status is Status.QUEUED


async def test_deletions_dated_ahead_are_dated_anew(cluster: Cluster, clock: SetClock) -> None:
    """When the clock is believed again: deleted while it was a year ahead, due after the delay."""
    clock.ahead = 365 * DAY
    await cluster.active(A)
    node = cluster.node(delay=DELAY, beats=False)
    await node.delete(A)
    await scrub(node)
    clock.ahead = timedelta(0)
    await clock_guard(cluster.catalog, virtual_uptime).confirm()

    with capture_logs() as lines:
        assert not await scrub(node)
    await anyio.sleep(DELAY.total_seconds() - 1)
    assert not await scrub(node)
    await anyio.sleep(1)

    assert await scrub(node) == 2
    assert [line["rows"] for line in lines if line["event"] == "moments.corrected"] == [1]
