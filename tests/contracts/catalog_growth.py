"""Whether every catalog lets an upload of unknown length wait for space."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from imaged.core.claim import Claim
from imaged.core.errors import QuotaExceeded
from imaged.core.growth import reserve, use_up
from imaged.core.image import ClaimedChange, Location
from imaged.core.uploading import (
    begin_attempt,
    begin_import,
    begin_staging,
    begin_upload,
    give_back,
    store_data,
    write_to,
)
from imaged.ports.catalog import Catalog
from support.quotas import limits
from support.sample_images import task

Begin = Callable[[Location], ClaimedChange]


class GrowingUploadsContract:
    """Whether an upload of unknown length that is refused may wait."""

    async def _may_wait(self, catalog: Catalog, image_id: str, claim: Claim) -> bool:
        with pytest.raises(QuotaExceeded) as refused:
            await samples.act(catalog, image_id, claim, reserve(1000))
        return refused.value.may_fit_later

    async def _begin(
        self, catalog: Catalog, begin: Begin, sizes: Mapping[str, int], owner: str = "a"
    ) -> dict[str, Claim]:
        """Uploads of these images, one after the other, and what each reserves; their claims."""
        claims: dict[str, Claim] = {}
        for image_id, size_bytes in sizes.items():
            claims[image_id] = samples.new_claim()
            await catalog.add_image(samples.queued(image_id, owner))
            began = begin(samples.place(f"{image_id}/1", 0))
            await samples.act(catalog, image_id, claims[image_id], began, reserve(size_bytes))
        return claims

    @pytest.mark.parametrize("begin", [begin_upload, begin_staging])
    @pytest.mark.rule("quotas.9", "quotas.11")
    async def test_the_older_wait_for_the_younger(self, catalog: Catalog, begin: Begin) -> None:
        """Until that ends, and not for those of other projects or of known length."""
        await catalog.set_limits("a", limits(total=100))
        claims = await self._begin(catalog, begin, {"old": 10, "young": 10})
        await self._begin(catalog, begin, {"of b": 10}, owner="b")
        await catalog.add_image(samples.queued("announced"))
        announced = begin_upload(samples.place("announced/1"), 10)
        await samples.act(catalog, "announced", samples.new_claim(), announced)
        assert await self._may_wait(catalog, "old", claims["old"])
        assert not await self._may_wait(catalog, "young", claims["young"])

        await catalog.modify_image("young", give_back(claims["young"], "no room", final=True))
        assert not await self._may_wait(catalog, "old", claims["old"])
        await audit(catalog)

    @pytest.mark.rule("quotas.10")
    async def test_what_was_reserved_ahead_is_waited_for(self, catalog: Catalog) -> None:
        """It is used up, or given back."""
        await catalog.set_limits("a", limits(total=100))
        claims = await self._begin(catalog, begin_upload, {"old": 10, "young": 10})
        old, young = claims["old"], claims["young"]

        grown = await samples.act(catalog, "old", old, reserve(30, ahead_bytes=20))
        assert grown.ahead_bytes == 20
        assert grown == await catalog.get_image("old")
        assert await self._may_wait(catalog, "young", young)
        await samples.act(catalog, "old", old, use_up)
        assert not await self._may_wait(catalog, "young", young)
        await samples.act(catalog, "old", old, reserve(40, ahead_bytes=10))
        await samples.act(catalog, "old", old, store_data(samples.content(35)))
        assert not await self._may_wait(catalog, "young", young)
        assert (await catalog.get_image("old")).ahead_bytes is None
        await audit(catalog)

    async def test_staged_bytes_are_held_by_stagings(self, catalog: Catalog) -> None:
        """An upload has none that it could give up."""
        await catalog.set_limits("a", limits(staged=100))
        claims = await self._begin(catalog, begin_staging, {"old": 10})
        await self._begin(catalog, begin_upload, {"upload": 10})
        assert not await self._may_wait(catalog, "old", claims["old"])
        await self._begin(catalog, begin_staging, {"young": 10})
        assert await self._may_wait(catalog, "old", claims["old"])

    async def test_the_attempt_of_an_import_grows(self, catalog: Catalog) -> None:
        """Its age is that of the import, in whichever attempt."""
        await catalog.set_limits("a", limits(total=100))
        await catalog.add_image(samples.queued("old"))
        await catalog.modify_image("old", begin_import(task("t", owner="a")))
        await self._begin(catalog, begin_upload, {"young": 10})
        claim = samples.new_claim()
        writing = write_to(samples.place("old/1", 0), grows=True)
        await samples.act(catalog, "old", claim, begin_attempt, writing)
        assert await self._may_wait(catalog, "old", claim)
