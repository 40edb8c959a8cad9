"""What every catalog does with the events that its changes send."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from contracts import catalog_samples as samples
from contracts.catalog_clock import A_YEAR, SetAhead
from imaged.core.deletion import deactivate, delete
from imaged.core.errors import ActivationRefused, ImageExists, QuotaExceeded
from imaged.core.notification import EventType, Sent, image_payload, image_sent
from imaged.core.outbox import DeliveryResult, FailedDelivery, OutboxEvent
from imaged.core.quota import Resource
from imaged.core.task import cancel, claim_task, finish_task
from imaged.core.uploading import begin_import, begin_upload, change_task
from imaged.ports.catalog import Catalog
from support.sample_images import task

BUSY = timedelta(minutes=1)
NO_TIME = timedelta(0)
SENT = Sent(uuid4(), "i", "a", "ann", "web", 7, 10)


async def types_of(catalog: Catalog, queue: str) -> list[str]:
    """The events that wait in a queue that is due, in order."""
    taken = await take(catalog)
    await catalog.settle_events(DeliveryResult(untried=[first.id for first, *_ in taken]))
    return dict(queues(taken)).get(queue, [])


async def take(
    catalog: Catalog, limit: int = samples.ALL, per_queue: int = samples.ALL
) -> Sequence[Sequence[OutboxEvent]]:
    """What is due, for a minute."""
    return await catalog.take_events(limit, per_queue, BUSY)


def queues(taken: Sequence[Sequence[OutboxEvent]]) -> list[tuple[str, list[str]]]:
    """The taken events, by queue."""
    return [
        (events[0].notification.queue, [event.notification.type for event in events])
        for events in taken
    ]


class OutboxContract:
    """An event waits exactly if its change was committed; those of a queue are taken in order."""

    @pytest.fixture(autouse=True)
    def wanted(self, request: pytest.FixtureRequest) -> None:
        """All events, in tests of this contract alone."""
        if request.function.__qualname__.startswith("OutboxContract."):
            catalog: Catalog = request.getfixturevalue("catalog")
            catalog.wanted_events = frozenset(EventType)

    @pytest.mark.rule("notifications.3")
    async def test_each_change_of_an_image_has_its_events(self, catalog: Catalog) -> None:
        """In order, with the image after the change."""
        image = await samples.add_active(catalog, "i")
        await samples.add_active(catalog, "j")
        deleted = await catalog.modify_image("i", delete(delayed=True))

        assert await types_of(catalog, "i") == [
            *("image.create", "image.update", "image.prepare"),
            *("image.upload", "image.activate", "image.update", "image.delete"),
        ]
        (events,) = [one for one in await take(catalog) if one[0].notification.queue == "i"]
        assert {one.notification.subject for one in events} == {"images/i"}
        assert events[5].notification.payload == image_payload(image)
        assert events[5].created_at == image.updated_at
        assert (
            events[6].notification.payload["updated_at"]
            == events[6].notification.payload["deleted_at"]
        )
        assert deleted.updated_at == events[6].created_at
        assert len({one.id for one in events}) == 7
        assert {(one.failures, one.last_error) for one in events} == {(0, None)}

    @pytest.mark.rule("notifications.3")
    async def test_what_sends_nothing(self, catalog: Catalog) -> None:
        """Refused changes, refused consequences, changes of nothing, and events that are
        not wanted.
        """
        await catalog.add_image(samples.queued("i"))
        await catalog.set_limits("a", {Resource.TOTAL: 5})
        with pytest.raises(ImageExists):
            await catalog.add_image(samples.queued("i"))
        begin = samples.held_by(samples.new_claim(), begin_upload(samples.place("i/1", 10)))
        with pytest.raises(QuotaExceeded):
            await catalog.modify_image("i", begin)
        with pytest.raises(ActivationRefused):
            await catalog.modify_image("i", deactivate)
        await catalog.modify_image("i", lambda image: image)
        catalog.wanted_events = frozenset({EventType.IMAGE_DELETE})
        await catalog.modify_image("i", lambda image: replace(image, name="another"))
        await catalog.add_events([image_sent(SENT)])
        catalog.wanted_events = frozenset()
        await catalog.add_image(samples.queued("j"))
        await catalog.add_task(task("t"))

        assert queues(await take(catalog)) == [("i", ["image.create"])]

    async def test_the_events_of_a_task_that_writes_no_image(self, catalog: Catalog) -> None:
        """In a queue of its own; the last when its record is removed."""
        claim = samples.new_claim()
        for name in ("t", "u"):
            await catalog.add_task(task(name, keep_for=NO_TIME))
        await catalog.modify_task("t", lambda task: claim_task(task, claim))
        await catalog.modify_task("t", lambda task: finish_task({})(task, claim))
        await catalog.modify_task("u", lambda task: cancel(task, "enough"))
        await catalog.remove_task("t", lambda _: None)
        await catalog.expire_tasks(samples.ALL)

        assert await types_of(catalog, "t") == [
            *("task.create", "task.processing", "task.run", "task.success", "task.delete"),
        ]
        assert await types_of(catalog, "u") == ["task.create", "task.failure", "task.delete"]

    async def test_the_events_of_a_task_that_writes_an_image(self, catalog: Catalog) -> None:
        """They are written with those of the image."""
        await samples.add_staged(catalog, "i")
        await catalog.modify_image("i", begin_import(task("t")))
        await catalog.modify_task("t", lambda task: cancel(task, "enough"))

        assert (await types_of(catalog, "i"))[-4:] == [
            *("image.update", "image.prepare"),
            *("image.upload", "image.update"),
        ]
        assert await types_of(catalog, "t") == ["task.create", "task.failure"]

    async def test_a_failed_change_of_the_task_of_an_image_sends_nothing(
        self, catalog: Catalog
    ) -> None:
        """Neither for the image nor for the task."""
        await samples.add_staged(catalog, "i")
        await catalog.modify_image("i", begin_import(task("t")))
        await catalog.modify_image("i", change_task(lambda task: task))

        assert await types_of(catalog, "t") == ["task.create"]

    async def test_a_download_has_a_queue_of_its_own(self, catalog: Catalog) -> None:
        """So that downloads of one image are not sent one by one."""
        sent = [image_sent(replace(SENT, id=uuid4())) for _ in range(3)]
        await catalog.add_events(sent)

        assert sorted(queues(await take(catalog))) == sorted(
            (one.queue, ["image.send"]) for one in sent
        )

    async def test_a_taken_queue_is_hidden(self, catalog: Catalog) -> None:
        """Until all that was taken of it is accepted: then its next events are due."""
        await samples.add_active(catalog, "i")
        await catalog.add_image(samples.queued("j"))

        ((first, second),) = await take(catalog, limit=1, per_queue=2)
        assert [first.notification.queue, second.notification.queue] == ["i", "i"]
        assert queues(await take(catalog)) == [("j", ["image.create"])]
        assert not await take(catalog)
        await catalog.modify_image("i", lambda image: replace(image, name="another"))
        assert not await take(catalog)

        await catalog.settle_events(DeliveryResult(accepted=[first.id, second.id]))
        ((third, *rest),) = await take(catalog)
        assert [third.notification.type, len(rest)] == ["image.prepare", 4]

    async def test_an_unsettled_queue_is_due_again(self, catalog: Catalog) -> None:
        """Its instance was killed."""
        await catalog.add_image(samples.queued("i"))
        (first,) = await catalog.take_events(1, 1, NO_TIME)
        assert await catalog.take_events(1, 1, BUSY) == [first]

    async def test_an_event_that_was_not_accepted_holds_up_its_queue(
        self, catalog: Catalog
    ) -> None:
        """For its pause; the error is kept for operators, and counted."""
        await samples.add_active(catalog, "i")
        ((first, second, *_),) = await take(catalog)
        failed = FailedDelivery(second.id, "answered 500", NO_TIME)
        await catalog.settle_events(DeliveryResult([first.id], [failed]))
        ((again, *_),) = await take(catalog)
        assert again == replace(second, failures=1, last_error="answered 500")

        later = FailedDelivery(second.id, "answered 503", samples.AN_HOUR)
        await catalog.settle_events(DeliveryResult(failed=[later]))
        assert not await take(catalog)
        summary = await catalog.summarize()
        assert (summary.outbox.events, summary.outbox.failing) == (5, 1)
        assert summary.outbox.oldest_at == second.created_at
        failures = {one.id: one.failures for one in await catalog.list_events(samples.ALL)}
        assert sorted(failures.values()) == [0, 0, 0, 0, 2]
        assert failures[second.id] == 2

    async def test_untried_queues_are_due_at_once(self, catalog: Catalog) -> None:
        """Their events did not fail."""
        await catalog.add_image(samples.queued("i"))
        ((first,),) = await take(catalog)
        await catalog.settle_events(DeliveryResult(untried=[first.id]))
        assert await take(catalog) == [[first]]

    async def test_settling_events_that_are_gone(self, catalog: Catalog) -> None:
        """Another instance was faster."""
        await catalog.add_image(samples.queued("i"))
        failed = FailedDelivery(uuid4(), "answered 500", NO_TIME)
        await catalog.settle_events(DeliveryResult([uuid4()], [failed], [uuid4()]))
        await catalog.settle_events(DeliveryResult())
        assert queues(await take(catalog)) == [("i", ["image.create"])]

    async def test_the_longest_due_queue_is_taken_first(self, catalog: Catalog) -> None:
        """A queue that failed goes behind those that wait."""
        for name in ("i", "j", "k"):
            await catalog.add_image(samples.queued(name))
        ((first,),) = await take(catalog, limit=1)
        failed = FailedDelivery(first.id, "answered 500", NO_TIME)
        await catalog.settle_events(DeliveryResult(failed=[failed]))
        assert [queue for queue, _ in queues(await take(catalog))] == ["j", "k", "i"]

    async def test_several_instances_take_different_queues(self, catalog: Catalog) -> None:
        """At the same moment."""
        names = [f"i{number}" for number in range(24)]
        for name in names:
            await catalog.add_image(samples.queued(name))
        taken = await asyncio.gather(*(take(catalog, limit=4) for _ in range(8)))
        rest = await take(catalog)
        found = [queue for part in (*taken, rest) for queue, _ in queues(part)]
        assert sorted(found) == sorted(names)

    async def test_old_events_are_dropped(self, catalog: Catalog) -> None:
        """The oldest first, and those that follow them stay in order."""
        await samples.add_active(catalog, "i")
        assert not await catalog.drop_events(samples.AN_HOUR, samples.ALL, samples.ALL)

        (dropped,) = await catalog.drop_events(NO_TIME, samples.ALL, 1)
        assert dropped.notification.type == "image.create"
        ((first, *rest),) = await take(catalog)
        assert [first.notification.type, len(rest)] == ["image.update", 4]
        assert len(await catalog.drop_events(NO_TIME, samples.ALL, samples.ALL)) == 5
        assert (await catalog.summarize()).outbox.oldest_at is None

    async def test_the_outbox_is_bounded(self, catalog: Catalog) -> None:
        """The newest events stay."""
        for name in ("i", "j", "k"):
            await catalog.add_image(samples.queued(name))
        assert not await catalog.drop_events(samples.AN_HOUR, 3, samples.ALL)
        dropped = await catalog.drop_events(samples.AN_HOUR, 2, samples.ALL)
        assert [event.notification.queue for event in dropped] == ["i"]
        listed = await catalog.list_events(samples.ALL)
        assert [event.notification.queue for event in listed] == ["j", "k"]
        assert list(await catalog.list_events(1)) == list(listed)[:1]

    async def test_events_that_were_dated_ahead(
        self, catalog: Catalog, set_ahead: SetAhead
    ) -> None:
        """They are due at once, and kept from now."""
        set_ahead(A_YEAR)
        await catalog.add_image(samples.queued("i"))
        set_ahead(samples.NO_DELAY)
        await catalog.add_image(samples.queued("j"))
        ((waits,),) = await take(catalog)
        failed = FailedDelivery(waits.id, "answered 500", A_YEAR)
        await catalog.settle_events(DeliveryResult(failed=[failed]))
        assert not await take(catalog)

        assert await catalog.redate(samples.AN_HOUR) == 2
        assert await catalog.redate(samples.AN_HOUR) == 0

        assert sorted(queues(await take(catalog))) == [
            ("i", ["image.create"]),
            ("j", ["image.create"]),
        ]
        assert len(await catalog.drop_events(NO_TIME, samples.ALL, samples.ALL)) == 2
