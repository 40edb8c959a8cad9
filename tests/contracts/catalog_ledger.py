"""What every catalog writes together with a change: the ledger of blobs, and the accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from imaged.core.blob import Blob, BlobState
from imaged.core.deletion import delete, expire, restore
from imaged.core.errors import BlobGone, NotRestorable, QuotaExceeded
from imaged.core.image import Image
from imaged.core.ledger import Account
from imaged.core.lifecycle import Status
from imaged.core.query import ImageQuery
from imaged.core.uploading import begin_upload, give_back, reserve, share_data, store_data
from imaged.ports.catalog import Catalog


class LedgerContract:
    """The consequences of a change are written with it, or the change is refused."""

    async def test_a_row_comes_before_the_bytes(self, catalog: Catalog) -> None:
        """Bytes that are being written have a row, with their reserved bytes."""
        claim = samples.new_claim()
        await samples.add_saving(catalog, "i", claim, 10)
        assert await catalog.get_blob("i/1") == Blob("i/1", samples.STORE, 10, BlobState.WRITING)

        await catalog.modify_image("i", samples.held_by(claim, reserve(25)))
        assert await catalog.get_blob("i/1") == Blob("i/1", samples.STORE, 25, BlobState.WRITING)

        await catalog.modify_image("i", samples.held_by(claim, store_data(samples.content(17))))
        assert await catalog.get_blob("i/1") == Blob("i/1", samples.STORE, 17, BlobState.KEPT)

    async def test_bytes_of_a_lost_writer_wait_for_its_lease(self, catalog: Catalog) -> None:
        """Nothing is deleted during a write: such bytes are due when the lease must have ended."""
        for image_id, lease in (("slow", samples.AN_HOUR), ("fast", samples.NO_DELAY)):
            claim = samples.new_claim(lease)
            await samples.add_saving(catalog, image_id, claim)
            await catalog.modify_image(image_id, give_back(claim, "lost", final=True))

        assert (await samples.blob_of(catalog, "slow/1")).state is BlobState.DOOMED
        assert await samples.due_keys(catalog) == ["fast/1"]

    async def test_complete_bytes_are_due_at_once(self, catalog: Catalog) -> None:
        """A delete without delay dooms complete bytes, and the image is deleted."""
        await samples.add_active(catalog, "i")
        deleted = await catalog.modify_image("i", delete(delayed=False))

        assert (deleted.status, deleted.locations) == (Status.DELETED, ())
        assert await samples.due_keys(catalog) == ["i/1"]
        assert (await samples.blob_of(catalog, "i/1")).awaited_by is None
        assert await catalog.get_account("a") == Account("a")

    async def test_only_complete_bytes_are_shared(self, catalog: Catalog) -> None:
        """Bytes that are being written, doomed or unknown make no clone."""
        claim = samples.new_claim()
        saving = await samples.add_saving(catalog, "i", claim)
        clone = await catalog.add_image(samples.queued("j"))

        async def refused() -> bool:
            source = replace(saving, content=samples.content())
            with pytest.raises(BlobGone):
                await catalog.modify_image("j", share_data(source))
            return await catalog.get_image("j") == clone

        assert await refused()
        await catalog.modify_image("i", samples.held_by(claim, store_data(samples.content())))
        await catalog.modify_image("i", delete(delayed=False))
        assert await refused()
        await catalog.remove_blob("i/1")
        assert await refused()
        assert await catalog.get_account("a") == Account("a")
        assert not await catalog.list_keys(samples.STORE)

    @pytest.mark.parametrize("first", ["i", "j"])
    async def test_shared_bytes_live_until_no_image_holds_them(
        self, catalog: Catalog, first: str
    ) -> None:
        """A clone and its source are complete without each other, whichever is deleted first."""
        source = await samples.add_active(catalog, "i", owner="a")
        await catalog.add_image(samples.queued("j", "b"))
        await catalog.modify_image("j", share_data(source))
        assert (await samples.blob_of(catalog, "i/1")).holders == 2
        assert (await catalog.get_account("b")).used_bytes == 10

        await catalog.modify_image(first, delete(delayed=False))
        blob = await samples.blob_of(catalog, "i/1")
        assert (blob.state, blob.holders) == (BlobState.KEPT, 1)

        (second,) = {"i", "j"} - {first}
        await catalog.modify_image(second, delete(delayed=False))
        assert await samples.due_keys(catalog) == ["i/1"]
        await audit(catalog)

    async def test_shared_bytes_leave_an_expired_image(self, catalog: Catalog) -> None:
        """An expired image does not wait for bytes that a clone still holds."""
        source = await samples.add_active(catalog, "i")
        await catalog.add_image(samples.queued("j"))
        await catalog.modify_image("j", share_data(source))
        seen = await catalog.modify_image("i", delete(delayed=True))
        expired = await catalog.modify_image("i", expire(seen))

        assert (expired.status, expired.locations) == (Status.DELETED, ())
        assert expired == await catalog.get_image("i")
        assert (await samples.blob_of(catalog, "i/1")).holders == 1
        assert not await samples.due_keys(catalog)

    async def test_waiting_images_hold_their_bytes(self, catalog: Catalog) -> None:
        """Delete with delay, and restore, change no blob and no account."""
        await samples.add_active(catalog, "i")
        blob = await catalog.get_blob("i/1")
        await catalog.modify_image("i", delete(delayed=True))
        assert (await catalog.get_blob("i/1"), await samples.due_keys(catalog)) == (blob, [])
        assert (await catalog.get_account("a")).used_bytes == 10

        await catalog.modify_image("i", restore)
        assert await catalog.get_blob("i/1") == blob

    async def test_expired_images_cannot_be_restored(self, catalog: Catalog) -> None:
        """Expiry releases the bytes, names the image that waits for them, and is final."""
        expired = await samples.add_expired(catalog, "i")
        assert (await samples.blob_of(catalog, "i/1")).awaited_by == "i"
        assert expired.locations == (samples.place("i/1"),)
        assert await catalog.get_account("a") == Account("a")

        with pytest.raises(NotRestorable):
            await catalog.modify_image("i", restore)
        assert await catalog.get_image("i") == expired

    async def test_expiry_is_of_the_delete_that_was_seen(self, catalog: Catalog) -> None:
        """An image that was restored and deleted again starts its delay again."""
        await samples.add_active(catalog, "i")
        seen = await catalog.modify_image("i", delete(delayed=True))
        await catalog.modify_image("i", restore)
        again = await catalog.modify_image("i", delete(delayed=True))

        with pytest.raises(NotRestorable):
            await catalog.modify_image("i", expire(seen))
        assert await catalog.get_image("i") == again

    async def test_a_refused_quota_leaves_nothing(self, catalog: Catalog) -> None:
        """Neither row, location, claim nor version."""
        assert await catalog.set_limit("a", 15) == Account("a", 0, 15)
        await samples.add_active(catalog, "i", 10)
        small = await catalog.add_image(samples.queued("j"))
        claim = samples.new_claim()

        with pytest.raises(QuotaExceeded):
            await catalog.modify_image(
                "j", samples.held_by(claim, begin_upload(samples.place("j/1", 6)))
            )

        assert await catalog.get_image("j") == small
        assert set(await catalog.list_keys(samples.STORE)) == {"i/1"}
        assert await catalog.get_account("a") == Account("a", 10, 15)
        assert not await catalog.renew_leases([claim])

        await catalog.modify_image(
            "j", samples.held_by(claim, begin_upload(samples.place("j/1", 5)))
        )
        with pytest.raises(QuotaExceeded):
            await catalog.modify_image("j", samples.held_by(claim, reserve(6)))
        assert (await samples.blob_of(catalog, "j/1")).size_bytes == 5
        assert await catalog.get_account("a") == Account("a", 15, 15)

    async def test_giving_back_is_always_possible(self, catalog: Catalog) -> None:
        """A limit below the usage refuses more, and allows every release."""
        for image_id in ("i", "j"):
            await samples.add_active(catalog, image_id, 10)
        assert await catalog.set_limit("a", 1) == Account("a", 20, 1)

        await catalog.modify_image("i", delete(delayed=False))
        assert await catalog.get_account("a") == Account("a", 10, 1)
        with pytest.raises(QuotaExceeded):
            await samples.add_saving(catalog, "k", samples.new_claim(), 1)

        assert await catalog.set_limit("a", None) == Account("a", 10)
        await catalog.modify_image("j", delete(delayed=False))
        assert await catalog.get_account("a") == Account("a")

    async def test_bytes_follow_their_owner(self, catalog: Catalog) -> None:
        """An image with a new owner is charged to it; both accounts change at once."""
        await samples.add_active(catalog, "i", 10)
        await catalog.set_limit("c", 9)

        await catalog.modify_image("i", lambda image: replace(image, owner="b"))
        assert await catalog.get_account("a") == Account("a")
        assert await catalog.get_account("b") == Account("b", 10)

        with pytest.raises(QuotaExceeded):
            await catalog.modify_image("i", lambda image: replace(image, owner="c"))
        assert await catalog.get_account("b") == Account("b", 10)
        assert await catalog.get_account("c") == Account("c", 0, 9)

    async def test_an_unknown_account_is_empty(self, catalog: Catalog) -> None:
        """Most projects have no row."""
        assert await catalog.get_account("unknown") == Account("unknown")


class FindingContract:
    """Background jobs find what they need, in order, and within their limit."""

    async def test_expirable_images(self, catalog: Catalog) -> None:
        """Restorable ones that have waited long enough, the longest first."""
        for image_id in ("late", "early"):
            await samples.add_active(catalog, image_id)
        await samples.add_expired(catalog, "expired")
        for image_id in ("early", "late"):
            await catalog.modify_image(image_id, delete(delayed=True))

        found = await catalog.find_expirable(samples.NO_DELAY, samples.ALL)
        assert list(found) == [await catalog.get_image(image_id) for image_id in ("early", "late")]
        assert [image.id for image in await catalog.find_expirable(samples.NO_DELAY, 1)] == [
            "early"
        ]
        assert not await catalog.find_expirable(samples.AN_HOUR, samples.ALL)

    async def test_lists_have_everything_too(self, catalog: Catalog) -> None:
        """An image in a list equals the image that is read alone."""
        await samples.add_saving(catalog, "saving", samples.new_claim())
        await samples.add_active(catalog, "active")
        await samples.add_expired(catalog, "expired")

        listed: list[Image] = list(await samples.list_images(catalog, ImageQuery()))

        assert [image.id for image in listed] == ["expired", "active", "saving"]
        assert listed == [await catalog.get_image(image.id) for image in listed]
