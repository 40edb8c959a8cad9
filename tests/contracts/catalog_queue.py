"""What every catalog does with doomed bytes, strays, pending tasks, and leases."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from contracts.catalog_comparison import ids
from imaged.core.blob import DELETION_RETRIES, BlobState
from imaged.core.broken_upload import after_refusal, forget_broken
from imaged.core.claim import Claim, InstanceId
from imaged.core.deletion import delete
from imaged.core.image import BrokenUpload, Image, Location
from imaged.core.lifecycle import Status
from imaged.core.uploading import (
    begin_import,
    begin_staging,
    begin_upload,
    give_back,
    store_data,
)
from imaged.ports.catalog import Catalog
from imaged.ports.image_catalog import HeldClaim
from support.sample_images import attempt_at, task
from support.waiting import until


def _broken(image: Image) -> BrokenUpload:
    return samples.known(image.broken_upload)


def _refuse_the_rest(image: Image) -> Image:
    return replace(image, broken_upload=after_refusal(_broken(image), 7))


class QueueContract:
    """Doomed bytes are a queue that hides taken ones; rows are removed only when the bytes are
    gone.
    """

    async def test_the_last_bytes_take_the_record_with_them(self, catalog: Catalog) -> None:
        """With its last row an expired image is deleted; removing it twice is no error."""
        expired = await samples.add_expired(catalog, "i")

        deleted = samples.known(await catalog.remove_blob("i/1"))

        assert deleted == await catalog.get_image("i")
        assert (deleted.status, deleted.locations) == (Status.DELETED, ())
        assert deleted.version == expired.version + 1
        assert deleted.since == deleted.updated_at
        assert await catalog.remove_blob("i/1") is None
        assert await catalog.get_image("i") == deleted
        assert not await catalog.list_keys(samples.STORE)

    async def test_many_rows_leave_at_once(self, catalog: Catalog) -> None:
        """As if each left alone: with their images and their histories, and nothing that is kept,
        unknown or gone.
        """
        for image_id in ("i", "j", "alone"):
            await samples.add_expired(catalog, image_id)
        active = await samples.add_active(catalog, "k")
        await catalog.add_stray(samples.place("s"), samples.NO_DELAY)
        alone = samples.known(await catalog.remove_blob("alone/1"))

        for _ in range(2):
            assert not await catalog.remove_blobs(["k/1", "j/1", "none", "s", "i/1"])

        assert not await catalog.remove_blobs([])
        assert await catalog.list_keys(samples.STORE) == {"k/1"}
        assert await catalog.get_image("k") == active
        expected = await catalog.get_history("alone")
        for image_id in ("i", "j"):
            history = await catalog.get_history(image_id)
            assert [one.action for one in history.entries] == [
                one.action for one in expected.entries
            ]
            deleted = history.image
            assert (deleted.status, deleted.locations) == (Status.DELETED, ())
            assert deleted.version == alone.version
            assert deleted.since == deleted.updated_at
        await audit(catalog)

    async def test_staged_bytes_that_were_imported(self, catalog: Catalog) -> None:
        """Their row goes alone: the image has other bytes."""
        await samples.add_staged(catalog, "i")
        await catalog.modify_image("i", begin_import(task("t")))
        imported = attempt_at(samples.place("i/2")), store_data(samples.content())
        await samples.act(catalog, "i", samples.new_claim(), *imported)
        assert await samples.due_keys(catalog) == ["i/1"]
        assert await catalog.remove_blob("i/1") is None
        assert (await catalog.get_image("i")).status is Status.ACTIVE
        await audit(catalog)

    async def test_broken_uploads_are_remembered_and_found(self, catalog: Catalog) -> None:
        """With a length or without; dated by the catalog, unclaimed, the longest ago first."""
        for number, announced_bytes in enumerate((9, None, 9)):
            image_id, claim = f"i{number}", samples.new_claim()
            begun = begin_upload(samples.place(f"{image_id}/1"), announced_bytes)
            await catalog.add_image(samples.queued(image_id))
            await samples.act(catalog, image_id, claim, begun)
            if number < 2:
                await catalog.modify_image(image_id, give_back(claim, "lost", final=True))

        found = await catalog.find_broken_uploads(samples.NO_DELAY, samples.ALL)
        assert ids(found) == ["i0", "i1"]
        first, second = [_broken(image) for image in found]
        assert (first.announced_bytes, second.announced_bytes) == (9, None)
        assert samples.known(first.at) <= samples.known(second.at)
        assert ids(await catalog.find_broken_uploads(samples.NO_DELAY, 1)) == ["i0"]
        assert not await catalog.find_broken_uploads(samples.AN_HOUR, samples.ALL)
        await catalog.modify_image("i1", _refuse_the_rest)
        assert _broken(await catalog.get_image("i1")).refused_bytes == 7

        forgotten = await catalog.modify_image("i0", forget_broken(found[0]))
        assert forgotten.broken_upload is None
        assert forgotten == await catalog.get_image("i0")
        assert ids(await catalog.find_broken_uploads(samples.NO_DELAY, samples.ALL)) == ["i1"]

    async def test_the_longest_due_come_first(self, catalog: Catalog) -> None:
        """In the order of their dooming, within the limit."""
        for image_id in ("b", "c", "a"):
            await samples.add_active(catalog, image_id)
        for image_id in ("c", "a", "b"):
            await catalog.modify_image(image_id, delete(delayed=False))

        peeked = [blob.key for blob in await catalog.list_doomed(samples.ALL)]
        assert peeked == ["c/1", "a/1", "b/1"]
        assert [blob.key for blob in await catalog.list_doomed(2)] == peeked[:2]
        taken = await catalog.take_doomed(2, samples.AN_HOUR)
        assert [blob.key for blob in taken] == peeked[:2]
        assert list(taken) == [await catalog.get_blob(key) for key in peeked[:2]]
        assert await samples.due_keys(catalog) == ["b/1"]

    async def test_taken_blobs_come_back(self, catalog: Catalog) -> None:
        """The taker may be dead: after ``busy_for`` it is due again."""
        await samples.add_expired(catalog, "i")
        busy_for = timedelta(milliseconds=200)
        before = datetime.now(UTC)
        (taken,) = await catalog.take_doomed(samples.ALL, busy_for)

        assert samples.known(taken.due_at) >= before + busy_for

        async def is_due() -> bool:
            return await samples.due_keys(catalog) == ["i/1"]

        await until(is_due)

    async def test_bytes_that_would_not_go(self, catalog: Catalog) -> None:
        """Their row has the reason and the number of attempts; others come first."""
        await samples.add_expired(catalog, "i")
        await samples.add_expired(catalog, "j")

        put_off = samples.known(await catalog.reschedule("i/1", "disk on fire"))

        assert put_off == await catalog.get_blob("i/1")
        assert (put_off.failures, put_off.last_error) == (1, "disk on fire")
        assert await samples.due_keys(catalog) == ["j/1"]
        again = samples.known(await catalog.reschedule("i/1", "still on fire"))
        assert again.failures == 2
        later = samples.known(again.due_at) - samples.known(put_off.due_at)
        assert later > DELETION_RETRIES.first_pause / 2

    async def test_only_doomed_rows_leave_or_are_put_off(self, catalog: Catalog) -> None:
        """A late scrubber never changes what is held, and ignores what is gone."""
        image = await samples.add_active(catalog, "i")
        await samples.add_saving(catalog, "j", samples.new_claim())

        for key in ("i/1", "j/1", "none"):
            before = await catalog.get_blob(key)
            assert await catalog.reschedule(key, "late") is None
            assert await catalog.remove_blob(key) is None
            await catalog.recheck_later(key, samples.NO_DELAY)
            assert await catalog.get_blob(key) == before

        assert await catalog.get_image("i") == image

    async def test_a_stray_is_doomed_once(self, catalog: Catalog) -> None:
        """Known bytes are unchanged; a stray is due after its quarantine."""
        await samples.add_active(catalog, "i")
        kept = await catalog.get_blob("i/1")

        assert not await catalog.add_stray(samples.place("i/1"), samples.NO_DELAY)
        assert await catalog.add_stray(samples.place("later"), samples.AN_HOUR)
        assert await catalog.add_stray(samples.place("now", 7), samples.NO_DELAY)
        stray = await samples.blob_of(catalog, "later")
        assert not await catalog.add_stray(samples.place("later"), samples.NO_DELAY)

        assert await catalog.get_blob("i/1") == kept
        assert await catalog.get_blob("later") == stray
        assert (stray.state, stray.holders, stray.awaited_by) == (BlobState.DOOMED, 0, None)
        assert await samples.due_keys(catalog) == ["now"]
        assert await catalog.remove_blob("now") is None
        assert await catalog.get_blob("now") is None

    async def test_keys_by_store_and_prefix(self, catalog: Catalog) -> None:
        """Keys are case-sensitive, and no character of a prefix is a wildcard."""
        await samples.add_active(catalog, "Kept")
        for key in ("a%/1", "aB/1", "ab/1", "ab/2", "b/1"):
            await catalog.add_stray(samples.place(key), samples.AN_HOUR)
        await catalog.add_stray(Location("other", "ab/3", 1), samples.AN_HOUR)

        assert set(await catalog.list_keys(samples.STORE, "ab/")) == {"ab/1", "ab/2"}
        assert set(await catalog.list_keys(samples.STORE, "a%")) == {"a%/1"}
        assert set(await catalog.list_keys("other")) == {"ab/3"}
        assert len(await catalog.list_keys(samples.STORE)) == 6
        assert set(await catalog.list_kept(samples.STORE)) == {"Kept/1"}
        assert set(await catalog.list_kept(samples.STORE, "K")) == {"Kept/1"}
        assert not await catalog.list_kept(samples.STORE, "k")
        assert not await catalog.list_kept("other")

    async def test_abandoned_staged_bytes(self, catalog: Catalog) -> None:
        """Unclaimed and idle for long enough, the longest first."""
        await catalog.add_image(samples.queued("busy"))
        await samples.act(catalog, "busy", samples.new_claim(), begin_staging(samples.place("b/1")))
        assert not await catalog.find_staged(samples.NO_DELAY, samples.ALL)
        staged = [await samples.add_staged(catalog, image_id) for image_id in ("z", "a")]

        assert await catalog.find_staged(samples.NO_DELAY, samples.ALL) == staged
        assert await catalog.find_staged(samples.NO_DELAY, 1) == staged[:1]
        assert not await catalog.find_staged(samples.AN_HOUR, samples.ALL)


class LeasesContract:
    """A lease lasts as long as its holder renews it, and until the work is reclaimed."""

    async def test_renewal_is_by_list(self, catalog: Catalog) -> None:
        """Claims that ended are missing in the answer; others are not renewed with them."""
        held, deleted, finished, unknown = (samples.new_claim() for _ in range(4))
        for image_id, claim in (("i", held), ("j", deleted), ("k", finished)):
            await samples.add_saving(catalog, image_id, claim)
        await catalog.modify_image("j", delete(delayed=False))
        await samples.act(catalog, "k", finished, store_data(samples.content()))
        impostor = Claim(held.token, InstanceId("other"), held.lease)

        claims = [held, deleted, finished, unknown, impostor]
        assert set(await catalog.renew_leases(claims)) == {held}
        assert not await catalog.renew_leases(claims[1:])
        assert not await catalog.renew_leases([])
        assert not await catalog.find_lapsed(samples.ALL)

    async def test_renewal_prolongs_from_now(self, catalog: Catalog) -> None:
        """An expired lease exists until the work is reclaimed; renewed, it is new."""
        first, second = samples.new_claim(samples.NO_DELAY), samples.new_claim(samples.NO_DELAY)
        await samples.add_saving(catalog, "i", first)
        await samples.add_saving(catalog, "j", second)

        assert set(await catalog.renew_leases([first])) == {first}
        assert [lapsed.image_id for lapsed in await catalog.find_lapsed(samples.ALL)] == ["j", "i"]

        await catalog.modify_image("i", give_back(first, "lost", final=True))
        assert not await catalog.renew_leases([first])
        assert [lapsed.image_id for lapsed in await catalog.find_lapsed(samples.ALL)] == ["j"]

    async def test_a_lease_runs_out_by_itself(self, catalog: Catalog) -> None:
        """A silent holder is found after the length of its lease."""
        claim = samples.new_claim(timedelta(milliseconds=100))
        await samples.add_saving(catalog, "i", claim)

        async def is_found() -> bool:
            return list(await catalog.find_lapsed(samples.ALL)) == [HeldClaim(claim, "i")]

        await until(is_found)
        assert [image.claim for image in await samples.all_images(catalog)] == [claim]
