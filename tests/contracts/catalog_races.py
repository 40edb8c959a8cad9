"""What every catalog guarantees under concurrency."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import anyio

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from contracts.catalog_stress import StressClient, add_roots
from imaged.core.errors import ClaimLost, ImageExists, QuotaExceeded
from imaged.core.image import Image
from imaged.core.uploading import begin_upload, store_data
from imaged.ports.catalog import Catalog

CONCURRENT_CALLS = 60


class RacesContract:
    """Every call is atomic."""

    async def test_no_update_is_lost(self, catalog: Catalog) -> None:
        """Sixty concurrent changes of one image are all there."""
        await catalog.add_image(samples.queued("i"))

        async def tag(number: int) -> None:
            def change(image: Image) -> Image:
                return replace(image, tags=(*image.tags, str(number)))

            await catalog.modify_image("i", change)

        async with anyio.create_task_group() as crowd:
            for number in range(CONCURRENT_CALLS):
                crowd.start_soon(tag, number)

        image = await catalog.get_image("i")
        assert {int(tag) for tag in image.tags} == set(range(CONCURRENT_CALLS))
        assert image.version == CONCURRENT_CALLS

    async def test_an_id_is_given_once(self, catalog: Catalog) -> None:
        """Of many concurrent creations with one id, one succeeds."""
        given: list[Image] = []

        async def add(number: int) -> None:
            with suppress(ImageExists):
                given.append(await catalog.add_image(samples.queued("i", f"owner{number}")))

        async with anyio.create_task_group() as crowd:
            for number in range(CONCURRENT_CALLS):
                crowd.start_soon(add, number)

        assert given == await samples.all_images(catalog)

    async def test_the_last_bytes_of_a_quota_are_given_once(self, catalog: Catalog) -> None:
        """Of forty that want ten bytes each, seven fit into seventy-five."""
        await catalog.set_limit("a", 75)
        granted: list[int] = []

        async def begin(number: int) -> None:
            await catalog.add_image(samples.queued(str(number)))
            began = samples.held_by(samples.new_claim(), begin_upload(samples.place(f"{number}/1")))
            with suppress(QuotaExceeded):
                await catalog.modify_image(str(number), began)
                granted.append(number)

        async with anyio.create_task_group() as crowd:
            for number in range(40):
                crowd.start_soon(begin, number)

        assert len(granted) == 7
        assert (await catalog.get_account("a")).used_bytes == 70
        assert set(await catalog.list_keys(samples.STORE)) == {f"{number}/1" for number in granted}

    async def test_a_claim_is_finished_once(self, catalog: Catalog) -> None:
        """Of many that finish the same work, one succeeds."""
        claim = samples.new_claim()
        await samples.add_saving(catalog, "i", claim)
        finished: list[Image] = []

        async def finish() -> None:
            with suppress(ClaimLost):
                done = samples.held_by(claim, store_data(samples.content()))
                finished.append(await catalog.modify_image("i", done))

        async with anyio.create_task_group() as crowd:
            for _ in range(CONCURRENT_CALLS):
                crowd.start_soon(finish)

        assert finished == [await catalog.get_image("i")]

    async def test_a_blob_is_taken_and_forgotten_once(self, catalog: Catalog) -> None:
        """Of many scrubbers, one takes each blob, and one is told that it was the last."""
        for number in range(10):
            await samples.add_expired(catalog, str(number))
        taken: list[str] = []
        deleted: list[str] = []

        async def scrub() -> None:
            for blob in await catalog.take_doomed(3, samples.AN_HOUR):
                taken.append(blob.key)
                told = [await catalog.remove_blob(blob.key), await catalog.remove_blob(blob.key)]
                deleted.extend(image.id for image in told if image is not None)

        async with anyio.create_task_group() as crowd:
            for _ in range(8):
                crowd.start_soon(scrub)

        assert sorted(taken) == [f"{number}/1" for number in range(10)]
        assert sorted(deleted) == [str(number) for number in range(10)]

    async def test_an_image_is_buried_once(self, catalog: Catalog) -> None:
        """Of many purges, one gets each image."""
        for number in range(10):
            await samples.add_deleted(catalog, str(number))
        buried: list[str] = []

        async def bury() -> None:
            buried.extend(await catalog.purge(-samples.AN_HOUR, 3))

        async with anyio.create_task_group() as crowd:
            for _ in range(8):
                crowd.start_soon(bury)

        assert sorted(buried) == [str(number) for number in range(10)]

    async def test_a_storm_of_shared_bytes(self, catalog: Catalog) -> None:
        """No deadlock and no lost update: the catalog is consistent at the end."""
        await add_roots(catalog)
        storms = [StressClient(catalog, f"storm{number}") for number in range(8)]

        async def rage(storm: StressClient) -> None:
            for _ in range(50):
                await storm.step()

        async with anyio.create_task_group() as crowd:
            for storm in storms:
                crowd.start_soon(rage, storm)

        await audit(catalog)
        assert sum(storm.done for storm in storms) > 100

    async def test_a_cancelled_caller_leaves_nothing_half_done(self, catalog: Catalog) -> None:
        """The change is made as a whole or not at all; and the catalog works on."""
        await add_roots(catalog)

        for number in range(20):
            with anyio.move_on_after(number * 0.0005):
                await samples.add_saving(catalog, f"i{number}", samples.new_claim())

        await audit(catalog)
        saving = await samples.add_saving(catalog, "last", samples.new_claim())
        assert await catalog.get_image("last") == saving
