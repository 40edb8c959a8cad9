"""What every catalog guarantees under concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import anyio
import pytest

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from contracts.catalog_comparison import ids
from contracts.catalog_stress import StressClient, add_roots
from imaged.core.errors import ClaimLost, ImageExists
from imaged.core.image import Image
from imaged.core.task import cancel
from imaged.core.uploading import store_data
from imaged.ports.catalog import Catalog
from support.sample_images import task

CONCURRENT_CALLS = 60

Add = Callable[[Catalog, str], Awaitable[object]]
Take = Callable[[Catalog], Awaitable[list[str]]]


async def _add_expired_task(catalog: Catalog, name: str) -> None:
    await catalog.add_task(task(name, keep_for=samples.NO_DELAY))
    await catalog.modify_task(name, lambda task: cancel(task, "enough"))


async def _scrub(catalog: Catalog) -> list[str]:
    """Take some blobs, and forget each twice; the ids of the images that have no more of them."""
    told = []
    for blob in await catalog.take_doomed(3, samples.AN_HOUR):
        told += [await catalog.remove_blob(blob.key), await catalog.remove_blob(blob.key)]
    return [image.id for image in told if image is not None]


async def _expire(catalog: Catalog) -> list[str]:
    return ids(await catalog.expire_tasks(3))


async def _bury(catalog: Catalog) -> list[str]:
    return list(await catalog.purge(-samples.AN_HOUR, 3))


#: What is added, and what removes some of it and returns their ids.
ONCE: dict[str, tuple[Add, Take]] = {
    "blobs": (samples.add_expired, _scrub),
    "tasks": (_add_expired_task, _expire),
    "images": (samples.add_deleted, _bury),
}


class RacesContract:
    """Every call is atomic."""

    async def test_no_update_is_lost(self, catalog: Catalog) -> None:
        """Sixty concurrent changes of one image are all there."""
        await catalog.add_image(samples.queued("i"))

        tags = [samples.tag(str(number)) for number in range(CONCURRENT_CALLS)]
        await asyncio.gather(*[catalog.modify_image("i", tag) for tag in tags])

        image = await catalog.get_image("i")
        assert {int(tag) for tag in image.tags} == set(range(CONCURRENT_CALLS))
        assert image.version == CONCURRENT_CALLS

    async def test_an_id_is_given_once(self, catalog: Catalog) -> None:
        """Of many concurrent creations with one id, one succeeds."""
        given: list[Image] = []

        async def add(number: int) -> None:
            with suppress(ImageExists):
                given.append(await catalog.add_image(samples.queued("i", f"owner{number}")))

        await asyncio.gather(*[add(number) for number in range(CONCURRENT_CALLS)])

        assert given == await samples.all_images(catalog)

    async def test_a_claim_is_finished_once(self, catalog: Catalog) -> None:
        """Of many that finish the same work, one succeeds."""
        claim = samples.new_claim()
        await samples.add_saving(catalog, "i", claim)
        finished: list[Image] = []

        async def finish() -> None:
            with suppress(ClaimLost):
                done = samples.held_by(claim, store_data(samples.content()))
                finished.append(await catalog.modify_image("i", done))

        await asyncio.gather(*[finish() for _ in range(CONCURRENT_CALLS)])

        assert finished == [await catalog.get_image("i")]

    @pytest.mark.parametrize("what", ONCE)
    async def test_each_goes_once(self, catalog: Catalog, what: str) -> None:
        """Of many that remove what is due, one gets each."""
        add, take = ONCE[what]
        names = [str(number) for number in range(10)]
        for name in names:
            await add(catalog, name)
        gone: list[str] = []

        async def work() -> None:
            for _ in range(6):
                gone.extend(await take(catalog))

        await asyncio.gather(*[work() for _ in range(8)])

        assert sorted(gone) == names

    async def test_a_storm_of_shared_bytes(self, catalog: Catalog) -> None:
        """No deadlock and no lost update: the catalog is consistent at the end."""
        await add_roots(catalog)
        storms = [StressClient(catalog, f"storm{number}") for number in range(8)]

        async def rage(storm: StressClient) -> None:
            for _ in range(50):
                await storm.step()

        await asyncio.gather(*[rage(storm) for storm in storms])

        await audit(catalog)
        assert sum(storm.done for storm in storms) > 100

    async def test_a_cancelled_caller_leaves_nothing_half_done(self, catalog: Catalog) -> None:
        """Of more than there are connections, at any moment: each change is made as a whole or not
        at all, none leaks a connection, and the catalog works on.
        """
        await add_roots(catalog)

        async def work(number: int) -> None:
            with anyio.move_on_after(number * 0.002):
                await samples.add_saving(catalog, f"i{number}", samples.new_claim())

        await asyncio.gather(*[work(number) for number in range(CONCURRENT_CALLS)])

        await audit(catalog)
        saving = await samples.add_saving(catalog, "last", samples.new_claim())
        assert await catalog.get_image("last") == saving
