"""What every catalog reports about unfinished writes, instances, and the whole."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from contracts import catalog_samples as samples
from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.deletion import delete, restore
from imaged.core.errors import BlobGone
from imaged.core.integrity import mark_damage
from imaged.core.lifecycle import Status
from imaged.core.summary import (
    MAX_DAMAGED_LISTED,
    BlobUsage,
    DamagedImage,
    Instance,
    InstanceReport,
    RequestCounts,
    StoreSpace,
)
from imaged.ports.catalog import Catalog

CLOCKS_APART = timedelta(minutes=1)  # the catalog's and the test's


def instance(name: str, version: str = "1.0", roles: tuple[str, ...] = ("api",)) -> Instance:
    """A process as it describes itself."""
    return Instance(InstanceId(name), version, roles)


class UnfinishedContract:
    """A write that may arrive late is recorded in the ledger, and checked once more."""

    async def test_a_write_has_the_stores_own_name(self, catalog: Catalog) -> None:
        """While it runs; the last id counts, and is kept with the bytes."""
        await samples.add_saving(catalog, "i", samples.new_claim())
        assert (await samples.blob_of(catalog, "i/1")).upload_id is None

        await catalog.record_upload_id("i/1", "first")
        await catalog.record_upload_id("i/1", "second")

        assert (await samples.blob_of(catalog, "i/1")).upload_id == "second"

    async def test_only_a_write_that_may_go_on_is_named(self, catalog: Catalog) -> None:
        """A writer of complete, doomed or unknown bytes is stopped before the first one."""
        await samples.add_active(catalog, "kept")
        await samples.add_saving(catalog, "doomed", samples.new_claim())
        await catalog.record_upload_id("doomed/1", "first")
        await catalog.modify_image("doomed", delete(delayed=False))
        assert (await samples.blob_of(catalog, "doomed/1")).upload_id == "first"

        for key in ("kept/1", "doomed/1", "none"):
            before = await catalog.get_blob(key)
            with pytest.raises(BlobGone):
                await catalog.record_upload_id(key, "late")
            assert await catalog.get_blob(key) == before

    async def test_blobs_doomed_unfinished_are_marked(self, catalog: Catalog) -> None:
        """More of it may arrive, unlike for complete bytes."""
        await samples.add_saving(catalog, "i", samples.new_claim(samples.NO_DELAY))
        await catalog.modify_image("i", delete(delayed=False))
        await samples.add_expired(catalog, "j")

        assert (await samples.blob_of(catalog, "i/1")).is_unfinished
        assert not (await samples.blob_of(catalog, "j/1")).is_unfinished
        taken = {
            blob.key: blob.is_unfinished
            for blob in await catalog.take_doomed(samples.ALL, samples.AN_HOUR)
        }
        assert taken == {"i/1": True, "j/1": False}

    async def test_a_second_look(self, catalog: Catalog) -> None:
        """Due once more after the delay, without bytes and with a clean record."""
        await samples.add_saving(catalog, "i", samples.new_claim(samples.NO_DELAY))
        await catalog.modify_image("i", delete(delayed=False))
        await catalog.reschedule("i/1", "no")
        before = await samples.blob_of(catalog, "i/1")

        await catalog.recheck_later("i/1", samples.AN_HOUR)

        swept = await samples.blob_of(catalog, "i/1")
        assert swept == replace(
            before, is_swept=True, size_bytes=0, failures=0, last_error=None, due_at=swept.due_at
        )
        assert not await samples.due_keys(catalog)
        await catalog.recheck_later("i/1", samples.NO_DELAY)
        assert await samples.due_keys(catalog) == ["i/1"]
        assert await catalog.remove_blob("i/1") is None
        assert await catalog.get_blob("i/1") is None


class StatusContract:
    """One snapshot shows the instances, the work of each, and all counts."""

    async def test_an_empty_catalog(self, catalog: Catalog) -> None:
        """Nothing is counted, by the catalog's clock."""
        summary = await catalog.summarize()

        assert abs(summary.at - datetime.now(UTC)) < CLOCKS_APART
        assert not summary.instances
        assert not summary.held_images
        assert not summary.images
        assert not summary.blob_usage
        assert (summary.restorable, summary.restorable_bytes) == (0, 0)
        assert summary.restorable_since is None
        assert not summary.damaged_images
        assert summary.oldest_due_at is None
        assert not summary.oldest

    async def test_an_instance_is_known_as_long_as_it_beats(self, catalog: Catalog) -> None:
        """From its first heartbeat, with the content of the last, until it unregisters."""
        await catalog.register_instance(instance("b"), samples.AN_HOUR)
        await catalog.register_instance(instance("a", roles=("api", "scrubber")), samples.AN_HOUR)
        first = (await catalog.summarize()).instances
        said = ("scrubber: ä failed 2 times: It is locked.", "again")
        report = InstanceReport(
            spaces={"local": StoreSpace(2**50, 7, 5)},
            failing_part_seconds={"store far": 2.5},
            reconciled_ago_seconds=1.5,
            missing_blobs=3,
            is_reload_rejected=True,
            requests=RequestCounts(9, 2, 3),
        )
        ill = replace(instance("b", version="2.0", roles=()), troubles=said, report=report)
        await catalog.register_instance(ill, samples.AN_HOUR)
        second = (await catalog.summarize()).instances

        assert [one.id for one in first] == ["a", "b"]
        assert (first[0].version, first[0].roles) == ("1.0", ("api", "scrubber"))
        assert first[0].started_at == first[0].seen_at
        assert second[0] == first[0]
        assert (second[1].version, second[1].roles, second[1].troubles) == ("2.0", (), said)
        assert (first[1].troubles, first[1].report) == ((), InstanceReport())
        assert second[1].report == report
        assert second[1].started_at == first[1].started_at
        assert samples.known(second[1].seen_at) > samples.known(first[1].seen_at)
        await catalog.unregister_instance(InstanceId("a"))
        await catalog.unregister_instance(InstanceId("a"))
        assert [one.id for one in (await catalog.summarize()).instances] == ["b"]

    async def test_a_silent_instance_is_forgotten(self, catalog: Catalog) -> None:
        """By the next heartbeat of another one; no heartbeat removes its own instance."""
        await catalog.register_instance(instance("a"), samples.AN_HOUR)
        await catalog.register_instance(instance("b"), samples.AN_HOUR)
        assert len((await catalog.summarize()).instances) == 2

        await catalog.register_instance(instance("c"), samples.NO_DELAY)
        (left,) = (await catalog.summarize()).instances
        await catalog.register_instance(instance("c"), samples.NO_DELAY)
        (again,) = (await catalog.summarize()).instances

        assert (left.id, again.id) == ("c", "c")
        assert left.started_at == again.started_at

    async def test_many_beat_at_once(self, catalog: Catalog) -> None:
        """After a long silence all return at the same moment without blocking each other."""
        names = [f"node{number:02}" for number in range(20)]
        for name in names:
            await catalog.register_instance(instance(name), samples.AN_HOUR)

        again = [instance(name, "2.0") for name in names]
        await asyncio.gather(*[catalog.register_instance(one, samples.NO_DELAY) for one in again])

        for name in names:
            await catalog.register_instance(instance(name, "3.0"), samples.AN_HOUR)
        found = (await catalog.summarize()).instances
        assert [(one.id, one.version) for one in found] == [(name, "3.0") for name in names]

    async def test_holdings_of_each_instance(self, catalog: Catalog) -> None:
        """Its claims, with the image and the end of the lease."""
        before = (await catalog.summarize()).at
        await samples.add_active(catalog, "idle")
        for image_id, owner in (("j", "one"), ("k", "two"), ("i", "one")):
            await samples.add_saving(catalog, image_id, samples.new_claim(samples.AN_HOUR, owner))

        summary = await catalog.summarize()

        held = [(one.instance, one.image_id, one.status) for one in summary.held_images]
        saving = Status.SAVING
        assert held == [("one", "i", saving), ("one", "j", saving), ("two", "k", saving)]
        for one in summary.held_images:
            assert one.since == (await catalog.get_image(one.image_id)).since
            assert before + samples.AN_HOUR < one.lease_until < summary.at + samples.AN_HOUR

    async def test_images_by_status_and_bytes_by_store(self, catalog: Catalog) -> None:
        """Every image and every blob is counted once; so is what cannot be deleted.

        Each status is dated by the image that has it longest; an expired one cannot be restored.
        """
        queued = await catalog.add_image(samples.queued("queued"))
        first = await samples.add_active(catalog, "a", 10)
        await samples.add_active(catalog, "b", 20)
        await samples.add_saving(catalog, "w", samples.new_claim(), 5)
        for image_id in ("stuck", "late"):
            await samples.add_active(catalog, image_id, 7)
            await catalog.modify_image(image_id, delete(delayed=False))
        await samples.add_deleted(catalog, "d")
        await samples.add_active(catalog, "r", 40)
        restorable = await catalog.modify_image("r", delete(delayed=True))
        await samples.add_expired(catalog, "e")
        await catalog.add_stray(replace(samples.place("s", 3), store="far"), samples.AN_HOUR)
        await catalog.reschedule("stuck/1", "no")

        summary = await catalog.summarize()

        assert {status: count for status, count in summary.images.items() if count} == {
            Status.QUEUED: 1,
            Status.ACTIVE: 2,
            Status.SAVING: 1,
            Status.DELETED: 3,
            Status.PENDING_DELETE: 2,
        }
        assert list(summary.blob_usage) == [
            BlobUsage("far", BlobState.DOOMED, 1, 3),
            BlobUsage(samples.STORE, BlobState.DOOMED, 3, 24, failing=1),
            BlobUsage(samples.STORE, BlobState.KEPT, 3, 70),
            BlobUsage(samples.STORE, BlobState.WRITING, 1, 5),
        ]
        assert (summary.restorable, summary.restorable_bytes) == (1, 40)
        assert summary.restorable_since == restorable.since
        late = await samples.blob_of(catalog, "late/1")
        assert summary.oldest_due_at == late.due_at
        assert summary.oldest[Status.QUEUED] == queued.since
        assert summary.oldest[Status.ACTIVE] == first.since
        assert summary.oldest[Status.PENDING_DELETE] == restorable.since
        assert {*summary.oldest} == {status for status, count in summary.images.items() if count}

    async def test_damaged_images_are_counted_while_they_are_in_use(self, catalog: Catalog) -> None:
        """Until they are repaired or deleted."""
        for image_id in ("a", "b", "c", "whole"):
            await samples.add_active(catalog, image_id)
        for image_id in ("a", "b", "c"):
            seen = await catalog.get_image(image_id)
            await catalog.modify_image(image_id, mark_damage(seen, ["It is not what it was."]))
        assert (await catalog.summarize()).damaged == 3

        await catalog.modify_image("a", mark_damage(await catalog.get_image("a"), []))
        await catalog.modify_image("b", delete(delayed=True))
        summary = await catalog.summarize()
        assert summary.damaged == 1
        assert list(summary.damaged_images) == [DamagedImage("c", "It is not what it was.")]
        await catalog.modify_image("b", restore)
        assert (await catalog.summarize()).damaged == 2

    async def test_few_damaged_images_are_listed(self, catalog: Catalog) -> None:
        """The first ones by id, however many there are; all are counted."""
        names = [f"i{number:02}" for number in range(MAX_DAMAGED_LISTED + 1)]
        for image_id in reversed(names):
            seen = await samples.add_active(catalog, image_id)
            await catalog.modify_image(image_id, mark_damage(seen, ["It is short."]))

        summary = await catalog.summarize()

        assert summary.damaged == len(names)
        assert [one.image_id for one in summary.damaged_images] == names[:-1]
