"""What every catalog writes together with a change: the ledger of blobs, and the accounts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from imaged.core.blob import Blob, BlobState
from imaged.core.deletion import delete
from imaged.core.errors import BlobGone, QuotaExceeded
from imaged.core.growth import reserve
from imaged.core.uploading import begin_upload, give_back, share_data, store_data
from imaged.ports.catalog import Catalog
from support.quotas import account, limit_total, limits, usage, used_bytes


class LedgerContract:
    """The consequences of a change are written with it, or the change is refused."""

    async def test_a_row_comes_before_the_bytes(self, catalog: Catalog) -> None:
        """Bytes that are being written have a row, with their reserved bytes."""
        claim = samples.new_claim()
        await samples.add_saving(catalog, "i", claim, 10)
        assert await catalog.get_blob("i/1") == Blob("i/1", samples.STORE, 10, BlobState.WRITING)

        await samples.act(catalog, "i", claim, reserve(25))
        assert await catalog.get_blob("i/1") == Blob("i/1", samples.STORE, 25, BlobState.WRITING)

        await samples.act(catalog, "i", claim, store_data(samples.content(17)))
        assert await catalog.get_blob("i/1") == Blob("i/1", samples.STORE, 17, BlobState.KEPT)

    async def test_bytes_of_a_lost_writer_wait_for_its_lease(self, catalog: Catalog) -> None:
        """Nothing is deleted during a write: such bytes are due when the lease must have ended."""
        for image_id, lease in (("slow", samples.AN_HOUR), ("fast", samples.NO_DELAY)):
            claim = samples.new_claim(lease)
            await samples.add_saving(catalog, image_id, claim)
            await catalog.modify_image(image_id, give_back(claim, "lost", final=True))

        assert (await samples.blob_of(catalog, "slow/1")).state is BlobState.DOOMED
        assert await samples.due_keys(catalog) == ["fast/1"]

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
        await samples.act(catalog, "i", claim, store_data(samples.content()))
        await catalog.modify_image("i", delete(delayed=False))
        assert await refused()
        await catalog.remove_blob("i/1")
        assert await refused()
        assert await catalog.get_account("a") == account("a", usage(images=1))
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
        assert await used_bytes(catalog, "b") == 10

        await catalog.modify_image(first, delete(delayed=False))
        blob = await samples.blob_of(catalog, "i/1")
        assert (blob.state, blob.holders) == (BlobState.KEPT, 1)

        (second,) = {"i", "j"} - {first}
        await catalog.modify_image(second, delete(delayed=False))
        assert await samples.due_keys(catalog) == ["i/1"]
        await audit(catalog)

    async def test_a_refused_quota_leaves_nothing(self, catalog: Catalog) -> None:
        """Neither row, location, claim nor version; a limit below the usage allows releases."""
        assert await limit_total(catalog, "a", 15) == account("a", own=limits(total=15))
        await samples.add_active(catalog, "i", 10)
        small = await catalog.add_image(samples.queued("j"))
        claim = samples.new_claim()

        with pytest.raises(QuotaExceeded):
            await samples.act(catalog, "j", claim, begin_upload(samples.place("j/1", 6)))

        assert await catalog.get_image("j") == small
        assert set(await catalog.list_keys(samples.STORE)) == {"i/1"}
        assert await catalog.get_account("a") == account("a", usage(10, images=2), limits(total=15))
        assert not await catalog.renew_leases([claim])

        await samples.act(catalog, "j", claim, begin_upload(samples.place("j/1", 5)))
        with pytest.raises(QuotaExceeded):
            await samples.act(catalog, "j", claim, reserve(6))
        assert (await samples.blob_of(catalog, "j/1")).size_bytes == 5
        full = usage(15, images=2, uploads=1)
        assert await catalog.get_account("a") == account("a", full, limits(total=15))
        assert await limit_total(catalog, "a", 1) == account("a", full, limits(total=1))
        await catalog.modify_image("i", delete(delayed=False))
        left = usage(5, images=1, uploads=1)
        assert await limit_total(catalog, "a", None) == account("a", left, limits(total=None))

    async def test_bytes_follow_their_owner(self, catalog: Catalog) -> None:
        """An image with a new owner is charged to it; both accounts change at once."""
        await samples.add_active(catalog, "i", 10)
        await limit_total(catalog, "c", 9)

        await catalog.modify_image("i", lambda image: replace(image, owner="b"))
        assert await catalog.get_account("a") == account("a")
        assert await catalog.get_account("b") == account("b", usage(10, images=1))

        with pytest.raises(QuotaExceeded):
            await catalog.modify_image("i", lambda image: replace(image, owner="c"))
        assert await catalog.get_account("b") == account("b", usage(10, images=1))
        assert await catalog.get_account("c") == account("c", own=limits(total=9))


class FindingContract:
    """Background jobs find what they need, in order, and within their limit."""

    async def test_expirable_images(self, catalog: Catalog) -> None:
        """Restorable ones that have waited long enough, the longest first."""
        for image_id in ("late", "early"):
            await samples.add_active(catalog, image_id)
        await samples.add_expired(catalog, "expired")
        delay = delete(delayed=True)
        waiting = [await catalog.modify_image(image_id, delay) for image_id in ("early", "late")]

        assert await catalog.find_expirable(samples.NO_DELAY, samples.ALL) == waiting
        assert await catalog.find_expirable(samples.NO_DELAY, 1) == waiting[:1]
        assert not await catalog.find_expirable(samples.AN_HOUR, samples.ALL)
