"""Events are delivered at least once, and each queue in its order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, EventRefused, ReceiverError
from imaged.core.notification import EventType
from imaged.core.outbox import EVENT_RETRIES, RECEIVER_RETRIES, OutboxEvent
from imaged.services.event_delivery import EVENTS_PER_QUEUE, DeliverySettings, EventDelivery
from imaged.services.periodic import run_periodically
from support.cluster import Cluster
from support.faults import override_calls
from support.memory_receiver import MemoryReceiver
from support.node import image_id
from support.settings import configured
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

SECOND = timedelta(seconds=1)
DOWN = ReceiverError("https://receiver/", "answered 503")
REFUSED = EventRefused("https://receiver/", "answered 422")


def delivery(
    cluster: Cluster, receiver: MemoryReceiver | None, **settings: object
) -> EventDelivery:
    """The job of one instance."""
    cluster.catalog.wanted_events = frozenset(EventType)
    job = EventDelivery(
        cluster.catalog, configured(DeliverySettings, **settings), cluster.node().clock
    )
    job.replace_receiver(receiver)
    return job


async def change(cluster: Cluster, number: int, times: int = 1) -> None:
    """Change an image, so that an event of it waits each time."""
    for _ in range(times):
        await cluster.catalog.modify_image(
            image_id(number), lambda image: replace(image, name=f"{image.name}+")
        )


def types(events: Sequence[OutboxEvent]) -> dict[str, list[str]]:
    """The types of events, by queue, in order."""
    found = defaultdict[str, list[str]](list)
    for event in events:
        found[event.notification.queue].append(event.notification.type)
    return dict(found)


async def test_all_that_waits_is_sent(cluster: Cluster) -> None:
    """In the order of the changes of each image; then nothing waits."""
    receiver = MemoryReceiver()
    job = delivery(cluster, receiver)
    await cluster.active(image_id(1))
    await cluster.active(image_id(2))
    await job.run_due()

    created = ["image.create", "image.update", "image.prepare"]
    expected = [*created, "image.upload", "image.activate", "image.update"]
    assert types(receiver.accepted) == {image_id(1): expected, image_id(2): expected}
    assert not cluster.catalog.outbox
    assert receiver.catalogs == [cluster.catalog.id]
    await job.run_due()
    assert len(receiver.catalogs) == 1
    assert not job.troubles


@pytest.mark.rule("notifications.4")
async def test_the_next_event_waits_for_the_one_before(cluster: Cluster) -> None:
    """An event that is refused holds up its own image, and no other one."""
    receiver = MemoryReceiver()

    async def refuse_renamed(event: OutboxEvent) -> None:
        if event.notification.payload["name"] == "bad":
            raise REFUSED

    receiver.answer = refuse_renamed
    job = delivery(cluster, receiver)
    for number in (1, 2):
        await cluster.queued(image_id(number))
    await cluster.catalog.modify_image(image_id(1), lambda image: replace(image, name="bad"))
    await change(cluster, 1)
    await change(cluster, 2)
    with capture_logs() as logs:
        await job.run_due()

    assert types(receiver.accepted) == {
        image_id(1): ["image.create"],
        image_id(2): ["image.create", "image.update"],
    }
    assert [one["event"] for one in logs] == ["notification.refused"]
    assert logs[0]["error"] == "The receiver of notifications, https://receiver/, answered 422."
    assert logs[0]["subject"] == f"images/{image_id(1)}"

    receiver.answer = MemoryReceiver().answer
    await anyio.sleep(EVENT_RETRIES.first_pause.total_seconds())
    await job.run_due()
    assert types(receiver.accepted)[image_id(1)] == ["image.create", "image.update", "image.update"]
    assert not cluster.catalog.outbox


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_images_are_told_of_beside_each_other(cluster: Cluster, concurrency: int) -> None:
    """Within the bound; the events of one image never are."""

    async def slow(event: OutboxEvent) -> None:
        busy = [one for one in answering if one == event.notification.queue]
        assert not busy
        answering.append(event.notification.queue)
        await anyio.sleep(0.1)
        answering.remove(event.notification.queue)

    answering: list[str] = []
    receiver = MemoryReceiver(slow)
    job = delivery(cluster, receiver, concurrency=concurrency)
    for number in range(1, 8):
        await cluster.queued(image_id(number))
        await change(cluster, number)
    await job.run_due()

    assert len(receiver.accepted) == 14
    assert receiver.most_at_once == concurrency


async def test_what_has_waited_longest_is_sent_first(cluster: Cluster) -> None:
    """Of an image with many events too, some of which are taken at a time."""
    receiver = MemoryReceiver()
    job = delivery(cluster, receiver, concurrency=1)
    await cluster.queued(image_id(1))
    await change(cluster, 1, 2 * EVENTS_PER_QUEUE)
    await anyio.sleep(1)
    await cluster.queued(image_id(2))
    await job.run_due()

    assert not cluster.catalog.outbox
    count = 2 * EVENTS_PER_QUEUE + 1
    queues = [event.notification.queue for event in receiver.accepted]
    assert queues == [image_id(1)] * count + [image_id(2)]


@pytest.mark.rule("notifications.5")
async def test_a_receiver_that_is_away_gets_all_later(cluster: Cluster) -> None:
    """One event is tried after each pause; the pauses grow to their limit. Then all are sent."""

    async def away(event: OutboxEvent) -> None:
        del event
        await checkpoint()
        if elapsed() < 600:
            raise DOWN

    receiver = MemoryReceiver(away)
    job = delivery(cluster, receiver)
    for number in range(1, 21):
        await cluster.active(image_id(number))
    with anyio.move_on_after(700):
        await run_periodically("notifications", job.run_due, lambda: SECOND)

    failed = receiver.sent_at[: len(receiver.sent) - len(receiver.accepted)]
    probes = failed[8:]  # the first of as many queues as are sent beside each other failed together
    assert set(failed[:8]) == {failed[0]}
    assert all(later - sooner >= 0.5 for sooner, later in pairwise(probes))
    longest = RECEIVER_RETRIES.longest_pause.total_seconds()
    assert all(later - sooner <= longest + 2 for sooner, later in pairwise(probes))
    assert 10 < len(probes) < 30
    assert len(receiver.accepted) == 120
    assert not cluster.catalog.outbox
    assert not job.troubles


async def test_a_single_event_is_tried_each_minute(cluster: Cluster) -> None:
    """However long the receiver was away: it gets it a minute after its return."""

    async def away(_: OutboxEvent) -> None:
        if elapsed() < 3600:
            raise DOWN

    receiver = MemoryReceiver(away)
    job = delivery(cluster, receiver)
    await cluster.queued(image_id(1))
    with anyio.move_on_after(3600 + 70):
        await run_periodically("notifications", job.run_due, lambda: 5 * SECOND)
    assert len(receiver.accepted) == 1


async def test_a_receiver_is_removed_while_events_are_taken(cluster: Cluster) -> None:
    """By a reload without a URL: what was taken is still sent."""
    receiver = MemoryReceiver()
    job = delivery(cluster, receiver)
    await cluster.queued(image_id(1))

    async def taken(*args: Any) -> Any:
        job.replace_receiver(None)
        return await type(cluster.catalog).take_events(cluster.catalog, *args)

    job._catalog = override_calls(cluster.catalog, take_events=taken)
    await job.run_due()
    assert len(receiver.accepted) == 1


async def test_the_receiver_may_ask_to_be_left_alone(cluster: Cluster) -> None:
    """As long as it says, up to a limit."""
    busy = ReceiverError("https://receiver/", "answered 429", retry_after=timedelta(seconds=90))

    async def answer(event: OutboxEvent) -> None:
        del event
        if len(receiver.sent) == 1:
            raise busy

    receiver = MemoryReceiver(answer)
    job = delivery(cluster, receiver)
    await cluster.queued(image_id(1))
    with anyio.move_on_after(120):
        await run_periodically("notifications", job.run_due, lambda: SECOND)
    assert 90 <= receiver.sent_at[1] - receiver.sent_at[0] <= 93
    assert len(receiver.accepted) == 1


async def test_an_outage_is_told(cluster: Cluster) -> None:
    """To operators, until it ends; another receiver is tried at once."""

    async def away(_: OutboxEvent) -> None:
        raise DOWN

    job = delivery(cluster, MemoryReceiver(away))
    await cluster.queued(image_id(1))
    await job.run_due()
    assert list(job.troubles) == [
        "notifications: The receiver of notifications, https://receiver/, answered 503."
    ]

    other = MemoryReceiver()
    job.replace_receiver(other)
    assert not job.troubles
    await anyio.sleep(EVENT_RETRIES.first_pause.total_seconds())
    await job.run_due()
    assert len(other.accepted) == 1


async def test_a_receiver_is_replaced_in_the_middle(cluster: Cluster) -> None:
    """What was taken is finished; the next events go to the new one, which is not known to fail."""
    other = MemoryReceiver()

    async def replace_it(_: OutboxEvent) -> None:
        job.replace_receiver(other)

    old = MemoryReceiver(replace_it)
    job = delivery(cluster, old, concurrency=1)
    for number in range(1, 4):
        await cluster.queued(image_id(number))
    await job.run_due()
    assert len(old.accepted) == 1
    await job.run_due()
    assert len(other.accepted) == 2


async def test_an_outage_of_the_old_receiver_is_not_that_of_the_new_one(cluster: Cluster) -> None:
    """It was replaced while a request to it failed."""

    async def replaced(_: OutboxEvent) -> None:
        job.replace_receiver(MemoryReceiver())
        raise DOWN

    job = delivery(cluster, MemoryReceiver(replaced))
    await cluster.queued(image_id(1))
    await job.run_due()
    assert not job.troubles
    assert not job._outages


async def test_a_failing_event_alone_holds_up_nothing_for_long(cluster: Cluster) -> None:
    """A receiver that fails for one event only is not taken to be away."""

    async def fails_for_one(event: OutboxEvent) -> None:
        if event.notification.queue == image_id(1):
            raise DOWN

    receiver = MemoryReceiver(fails_for_one)
    job = delivery(cluster, receiver)
    for number in range(1, 31):
        await cluster.active(image_id(number))
    with anyio.move_on_after(30):
        await run_periodically("notifications", job.run_due, lambda: SECOND)
    assert len(types(receiver.accepted)) == 29
    assert {one.event.notification.queue for one in cluster.catalog.outbox.values()} == {
        image_id(1)
    }


async def test_two_instances_share_the_work(cluster: Cluster) -> None:
    """Each event is sent once, and each queue in order."""

    async def slow(event: OutboxEvent) -> None:
        del event
        await anyio.sleep(0.1)

    receiver = MemoryReceiver(slow)
    jobs = [delivery(cluster, receiver, concurrency=2) for _ in range(2)]
    for number in range(1, 11):
        await cluster.active(image_id(number))
    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(job.run_due)
    assert len(receiver.sent) == len(receiver.accepted) == 60
    assert receiver.most_at_once == 4
    assert all(events[0] == "image.create" for events in types(receiver.accepted).values())


async def test_the_queue_of_a_dead_instance_is_sent_by_another(cluster: Cluster) -> None:
    """Not before its requests must have ended."""
    settings = configured(DeliverySettings)
    await cluster.queued(image_id(1))
    job = delivery(cluster, receiver := MemoryReceiver())
    await change(cluster, 1)
    assert await cluster.catalog.take_events(1, 1, settings.busy_for)  # and then it was killed
    with anyio.move_on_after(60):
        await run_periodically("notifications", job.run_due, lambda: SECOND)
    assert settings.busy_for > 2 * settings.timeout
    assert elapsed() >= settings.busy_for.total_seconds() <= receiver.sent_at[0]
    assert len(receiver.accepted) == 1


async def test_a_job_that_is_stopped_keeps_what_was_accepted(cluster: Cluster) -> None:
    """And gives back the rest at once."""

    async def hang(event: OutboxEvent) -> None:
        if event.notification.type == "image.update":
            await anyio.sleep_forever()

    receiver = MemoryReceiver(hang)
    job = delivery(cluster, receiver)
    await cluster.queued(image_id(1))
    await change(cluster, 1)
    await cluster.queued(image_id(2))
    with anyio.move_on_after(1):
        await job.run_due()

    receiver.answer = MemoryReceiver().answer
    await job.run_due()
    assert types(receiver.accepted) == {
        image_id(1): ["image.create", "image.update"],
        image_id(2): ["image.create"],
    }


@pytest.mark.rule("notifications.7")
async def test_a_round_ends_before_its_queues_are_due_again(cluster: Cluster) -> None:
    """However slow the receiver is: no event is sent after another instance may send it."""
    settings = configured(DeliverySettings)
    seconds = settings.timeout.total_seconds()

    async def slow(event: OutboxEvent) -> None:
        del event
        await anyio.sleep(seconds * 0.7)

    receiver = MemoryReceiver(slow)
    job = delivery(cluster, receiver)
    await cluster.queued(image_id(1))
    await change(cluster, 1, 4)
    cancelled: list[float] = []

    async def take_is_watched(*args: object) -> object:
        cancelled.append(elapsed())
        return await type(cluster.catalog).take_events(cluster.catalog, *args)  # type: ignore[arg-type]

    job._catalog = override_calls(cluster.catalog, take_events=take_is_watched)
    await job.run_due()
    assert len(receiver.accepted) == 5
    rounds = [later - sooner for sooner, later in pairwise(cancelled)]
    assert max(rounds) < 2 * seconds < settings.busy_for.total_seconds()
    assert len(rounds) > 1


@pytest.mark.rule("notifications.5")
async def test_old_events_are_dropped_loudly(cluster: Cluster) -> None:
    """After ``keep``, and what is too many; the next event of the image is sent."""

    async def away(_: OutboxEvent) -> None:
        raise DOWN

    receiver = MemoryReceiver(away)
    job = delivery(cluster, receiver, keep=timedelta(hours=1), max_waiting=3)
    await cluster.queued(image_id(1))
    await job.run_due()
    await anyio.sleep(3600)
    await change(cluster, 1)
    with capture_logs() as logs:
        await job.run_due()
    (dropped,) = [one for one in logs if one["event"] == "notifications.dropped"]
    assert (dropped["log_level"], dropped["events"]) == ("error", 1)
    assert dropped["types"] == {"image.create": 1}
    assert dropped["subjects"] == [f"images/{image_id(1)}"]
    assert dropped["why"] == "answered 503"

    await change(cluster, 1, 4)
    await anyio.sleep(61)
    await job.run_due()
    assert len(cluster.catalog.outbox) <= 3
    assert job.dropped >= 3


async def test_without_a_receiver_nothing_is_sent(cluster: Cluster) -> None:
    """What was left of one becomes too old."""
    job = delivery(cluster, None, keep=timedelta(hours=1))
    await cluster.queued(image_id(1))
    await job.run_due()
    assert len(cluster.catalog.outbox) == 1
    await anyio.sleep(3601)
    await job.run_due()
    assert not cluster.catalog.outbox


async def test_an_untrusted_clock_drops_nothing(cluster: Cluster) -> None:
    """After a step ahead, all would seem too old."""
    job = delivery(cluster, None, keep=timedelta(hours=1))

    async def is_reliable() -> bool:
        return False

    job._clock = override_calls(job._clock, is_reliable=is_reliable)
    await cluster.queued(image_id(1))
    await anyio.sleep(3601)
    await job.run_due()
    assert len(cluster.catalog.outbox) == 1


async def test_an_unanswered_settlement_sends_again(cluster: Cluster) -> None:
    """It is unknown whether it was stored: the events are sent once more, with the same id."""
    receiver = MemoryReceiver()
    job = delivery(cluster, receiver)
    await cluster.queued(image_id(1))

    async def fails(*_: object) -> None:
        raise CatalogError("the connection broke")

    job._catalog = override_calls(cluster.catalog, settle_events=fails)
    with pytest.raises(CatalogError):
        await job.run_due()
    job._catalog = cluster.catalog
    await anyio.sleep(configured(DeliverySettings).busy_for.total_seconds())
    await job.run_due()
    first, second = receiver.accepted
    assert first.id == second.id
    assert not cluster.catalog.outbox
