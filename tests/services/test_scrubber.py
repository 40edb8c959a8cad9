"""The scrubber: all that is due goes, the oldest first, several at a time."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest
from structlog.contextvars import bound_contextvars
from structlog.testing import capture_logs

from imaged.core.blob import BlobState
from imaged.core.errors import ImageExists, InvalidTransition, NotRestorable
from imaged.core.lifecycle import Status
from imaged.core.uploading import share_data
from imaged.services.scrubber import BLOBS_PER_SLOT
from support.cluster import Cluster
from support.faults import hangs, override_calls, store_fails
from support.node import A, B, image_id
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

NOW = timedelta(0)


# order, batches, and several at a time


@pytest.mark.rule("scrubbing.2")
async def test_the_oldest_goes_first(cluster: Cluster) -> None:
    """What has been due for longest is in the first batch, and so on."""
    numbers = (5, 30, 9, 1, 77, 2, 8, 40, 23, 7, 90, 4)
    places = {n: (await cluster.active(image_id(n))).locations[0] for n in sorted(numbers)}
    for number in numbers:
        await cluster.node().delete(image_id(number), delayed=False)
        await anyio.sleep(10)
    keys = [places[number].key for number in numbers]
    deleted: list[str] = []

    async def watched(key: str, *_: object) -> None:
        deleted.append(key)
        await cluster.near.delete(key)

    node = cluster.node(near=override_calls(cluster.near, delete=watched))
    node.scrubber.settings = replace(node.scrubber.settings, concurrency=1)
    await node.scrubber.run_due()

    for batch in (slice(BLOBS_PER_SLOT), slice(BLOBS_PER_SLOT, None)):  # the second may be larger
        assert sorted(deleted[batch]) == sorted(keys[batch])


@pytest.mark.parametrize("concurrency", [1, 3])
@pytest.mark.rule("scrubbing.3")
async def test_the_number_deleted_at_once(cluster: Cluster, concurrency: int) -> None:
    """As many as configured, and no more."""
    await cluster.doomed(*range(1, 31))
    busy, most = 0, 0

    async def slow(key: str, *_: object) -> None:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await anyio.sleep(1)
        await cluster.near.delete(key)
        busy -= 1

    node = cluster.node(near=override_calls(cluster.near, delete=slow))
    node.scrubber.settings = replace(node.scrubber.settings, concurrency=concurrency)
    report = await node.scrubber.run_due()

    assert most == concurrency
    assert report.deleted == 30
    assert elapsed() >= 30 / concurrency


async def test_one_round_deletes_all_due_blobs(cluster: Cluster) -> None:
    """However many batches that takes."""
    numbers = range(1, 251)
    for number in numbers:
        await cluster.active(image_id(number))
        await cluster.node().delete(image_id(number))

    report = await cluster.node("scrubber", delay=NOW).scrubber.run_due()

    assert (report.expired, report.deleted) == (250, 250)
    assert not cluster.keys
    assert not cluster.catalog.blobs


@pytest.mark.rule("scrubbing.4")
async def test_blobs_of_a_dead_scrubber_are_due_again(cluster: Cluster) -> None:
    """After a while the blobs of a dead scrubber are due again."""
    (key,) = await cluster.doomed(1)
    dead = cluster.node("dead", near=override_calls(cluster.near, delete=hangs))
    with anyio.move_on_after(1):
        await dead.scrubber.run_due()

    assert not await cluster.node().scrubber.run_due()
    assert cluster.keys == {key}
    await anyio.sleep(61)
    await cluster.node().scrubber.run_due()

    assert not cluster.keys
    assert not cluster.catalog.blobs


# what the log tells of it


async def test_a_long_round_tells_its_progress(cluster: Cluster) -> None:
    """Once a minute: what is done, what is left, and how late it is; and all of it at the end."""
    await cluster.doomed(*range(1, 41))

    async def slow(key: str, *_: object) -> None:
        await anyio.sleep(30)
        await cluster.near.delete(key)

    node = cluster.node(near=override_calls(cluster.near, delete=slow))
    node.scrubber.settings = replace(node.scrubber.settings, concurrency=2)
    with capture_logs() as logs:
        await node.scrubber.run_due()
    *progress, finished = [line for line in logs if line["event"].startswith("scrub.")]

    assert {line["event"] for line in progress} == {"scrub.progress"}
    assert [(line["deleted"], line["left"]) for line in progress] == [
        (done, 40 - done) for done in (8, 16, 24, 32, 40)
    ]
    assert [line["lag_s"] for line in progress] == [120, 240, 360, 480, 0]
    assert finished["event"] == "scrub.finished"
    assert (finished["deleted"], finished["duration_s"], finished["lag_s"]) == (40, 600, 0)


async def test_a_short_round_is_one_line(cluster: Cluster) -> None:
    """One without work is none."""
    await cluster.doomed(1)
    node = cluster.node()
    with capture_logs() as logs:
        await node.scrubber.run_due()
        await node.scrubber.run_due()

    assert [line["event"] for line in logs if line["event"].startswith("scrub.")] == [
        "scrub.finished"
    ]


# one image


async def test_one_image_is_purged(cluster: Cluster) -> None:
    """At once, whatever its delay; others wait on, and its history says who asked."""
    for name in (A, B):
        await cluster.active(name)
        await cluster.node().delete(name)
    node = cluster.node("scrubber", delay=timedelta(days=1))
    with bound_contextvars(user_id="operator:ann"):
        report = await node.scrubber.purge(A)
    _, _, _, *scrub = (await cluster.catalog.get_history(A)).entries

    assert (report.expired, report.deleted, report.failed) == (1, 1, 0)
    assert (await cluster.image(A)).status is Status.DELETED
    assert [(one.action, one.actor.user_id) for one in scrub] == [
        ("deleted", None),
        ("scrub_started", "operator:ann"),
        ("scrubbed", "operator:ann"),
    ]
    assert (await node.restore(B)).status is Status.ACTIVE
    cluster.audit()


async def test_a_purge_leaves_what_a_clone_needs(cluster: Cluster) -> None:
    """Only the record of the purged image is gone."""
    (location,) = (await cluster.active(A)).locations
    await cluster.queued(B)
    await cluster.change(B, share_data(await cluster.image(A)))
    await cluster.node().delete(A)
    report = await cluster.node("scrubber").scrubber.purge(A)

    assert (report.deleted, (await cluster.image(A)).status) == (0, Status.DELETED)
    assert cluster.keys == {location.key}
    cluster.audit()


async def test_a_purge_of_bytes_that_stay_is_repeated(cluster: Cluster) -> None:
    """The image cannot be restored, and the scrubber deletes its bytes when the store works."""
    await cluster.active(A)
    await cluster.node().delete(A)
    near = override_calls(cluster.near, delete=store_fails)
    report = await cluster.node("one", near=near).scrubber.purge(A)

    assert (report.deleted, report.failed) == (0, 1)
    with pytest.raises(NotRestorable):
        await cluster.node().restore(A)
    await anyio.sleep(60)
    await cluster.node("other").scrubber.run_due()
    assert (await cluster.image(A)).status is Status.DELETED
    assert not cluster.keys


# records, and looking only


@pytest.mark.rule("scrubbing.10", "scrubbing.11")
async def test_records_are_buried_after_their_time(cluster: Cluster) -> None:
    """What is left of them is that their ids are never used again."""
    await cluster.queued(A)
    await cluster.active(B)
    node = cluster.node("scrubber", delay=NOW, keep_records=timedelta(seconds=1000))
    await node.delete(A)
    await anyio.sleep(900)
    assert not (await node.scrubber.run_due()).buried

    await anyio.sleep(100)
    report = await node.scrubber.run_due()

    assert report.buried == 1
    assert set(cluster.catalog.images) == {B}
    with pytest.raises(ImageExists):
        await cluster.queued(A)


async def test_a_record_that_waits_for_its_bytes_is_not_buried(cluster: Cluster) -> None:
    """Its time counts from when it became deleted."""
    await cluster.active(A)
    near, keep_records = override_calls(cluster.near, delete=store_fails), timedelta(seconds=100)
    stuck = cluster.node(near=near, delay=NOW, keep_records=keep_records)
    await stuck.delete(A)
    for _ in range(5):
        await stuck.scrubber.run_due()
        await anyio.sleep(100)

    assert (await cluster.image(A)).status is Status.PENDING_DELETE
    await anyio.sleep(3600)
    await cluster.node("scrubber", delay=NOW, keep_records=keep_records).scrubber.run_due()
    assert (await cluster.image(A)).status is Status.DELETED


async def test_a_preview_touches_nothing(cluster: Cluster) -> None:
    """It says what would go now, and that is all that it does."""
    await cluster.active(A)
    due = (await cluster.active(B)).locations[0].key
    stuck = (await cluster.active(image_id(3))).locations[0].key
    node = cluster.node(delay=NOW)
    await node.delete(image_id(3), delayed=False)
    await cluster.node(
        "broken", near=override_calls(cluster.near, delete=store_fails)
    ).scrubber.run_due()
    await node.delete(A)
    await node.delete(B, delayed=False)
    before = (dict(cluster.catalog.images), dict(cluster.catalog.blobs), cluster.keys)

    preview = await node.scrubber.preview()

    assert [image.id for image in preview.images] == [A]
    assert [(blob.key, blob.state) for blob in preview.blobs] == [(due, BlobState.DOOMED)]
    assert [(blob.key, blob.failures) for blob in preview.later] == [(stuck, 1)]
    assert not preview.waits_for_clock
    assert before == (cluster.catalog.images, cluster.catalog.blobs, cluster.keys)
    assert (await node.scrubber.run_due()).expired == 1


async def test_a_restore_during_the_scrub_is_whole_or_refused(cluster: Cluster) -> None:
    """Fifty images expire while all are being restored: none is restored half."""
    names = [image_id(number) for number in range(1, 51)]
    for name in names:
        await cluster.active(name)
        await cluster.node().delete(name)
    node = cluster.node("scrubber", delay=NOW)
    restored: set[str] = set()

    async def restore_all() -> None:
        for name in reversed(names):
            with suppress(NotRestorable, InvalidTransition):
                restored.add((await node.restore(name)).id)

    restoring = cluster.start(restore_all())
    await node.scrubber.run_due()
    await restoring.outcome()

    assert 0 < len(restored) < 50
    assert {i.id for i in cluster.catalog.images.values() if i.status is Status.ACTIVE} == restored
    cluster.audit()
