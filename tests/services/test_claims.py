"""Claims: how work on an image begins, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import UUID

import anyio
import pytest

from imaged.core.errors import (
    CatalogError,
    ClaimLost,
    ImageDeleted,
    InvalidTransition,
    QuotaExceeded,
)
from imaged.core.image import Change, Image, Location
from imaged.core.keys import make_key
from imaged.core.lifecycle import Status
from imaged.core.writing import begin_upload, give_back
from support.bodies import BODY, send
from support.faults import catalog_fails, detour, from_nth, nth, pause
from support.node import LEASE, RENEW_EVERY, A, B
from support.site import Site
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()
ROUND = RENEW_EVERY.total_seconds()


# what begins one


async def test_a_refused_begin_gives_nothing_back(site: Site) -> None:
    """The image is not ours: one question, one refusal, and no row is left."""
    await site.active(A)
    await site.queued(B)
    await site.catalog.set_limit("p1", len(BODY))
    asked: list[str] = []

    async def watched(image_id: str, change: Change) -> Image:
        asked.append(image_id)
        return await site.catalog.modify_image(image_id, change)

    node = site.node(catalog=detour(site.catalog, modify_image=watched))
    before = (dict(site.catalog.images), dict(site.catalog.blobs))
    with pytest.raises(InvalidTransition):
        await node.upload(A)
    with pytest.raises(QuotaExceeded):
        await node.upload(B, send(), len(BODY))

    assert asked == [A, B]
    assert before == (site.catalog.images, site.catalog.blobs)
    assert not site.catalog.leases


async def test_a_begin_without_an_answer_is_given_back(site: Site) -> None:
    """It may have been carried out, and it was: nobody waits for a lease to run out."""
    await site.queued(A)
    modify = nth(site.catalog.modify_image, 1, after=catalog_fails)
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    with pytest.raises(CatalogError):
        await node.upload(A)

    assert (await site.image(A)).status is Status.QUEUED
    assert not site.catalog.leases


async def test_one_of_two_uploads_is_refused(site: Site) -> None:
    """Two writers on one image: the first is not disturbed, the second hears so at once."""
    await site.queued(A)
    site.start(_upload(site, A, send(chunks=3, every=5)))
    await anyio.sleep(1)

    with pytest.raises(InvalidTransition):
        await site.node("second").upload(A)
    await anyio.sleep(30)

    assert (await site.image(A)).status is Status.ACTIVE


# a finish that is not heard, or heard late


async def test_a_finish_whose_reply_is_late_is_a_success(site: Site) -> None:
    """The catalog carries it out, answers after the lease, and the client hears of a success."""
    await site.queued(A)
    modify = nth(site.catalog.modify_image, 2, after=pause(SILENCE + 40))
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    image = await node.upload(A, send(), len(BODY))
    await site.settle()

    assert image.status is Status.ACTIVE
    assert {image.locations[0].key} == site.keys


async def test_a_finish_whose_reply_is_lost_is_a_success(site: Site) -> None:
    """The catalog is asked once more before anybody is told of a failure."""
    await site.queued(A)
    modify = nth(site.catalog.modify_image, 2, after=catalog_fails)
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    image = await node.upload(A, send(), len(BODY))

    assert image.status is Status.ACTIVE
    assert (await site.image(A)).last_failure is None


async def test_a_finish_heard_late_is_a_success_even_if_deleted_since(site: Site) -> None:
    """It was good when it was finished: what became of the image later is another story."""
    await site.queued(A)

    async def deleted_meanwhile(*_: object) -> None:
        await site.node("other").delete(A, delayed=False)
        await anyio.sleep(SILENCE + 40)

    modify = nth(site.catalog.modify_image, 2, after=deleted_meanwhile)
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    image = await node.upload(A, send(), len(BODY))
    await site.settle()

    assert image.status is Status.DELETED
    assert not site.keys


async def test_a_finish_that_was_not_heard_is_a_failure(site: Site) -> None:
    """Refused before it was carried out: the client is told, and the image is given back."""
    await site.queued(A)
    modify = nth(site.catalog.modify_image, 2, before=catalog_fails)
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    with pytest.raises(CatalogError):
        await node.upload(A, send(), len(BODY))
    await site.settle()

    assert (await site.image(A)).status is Status.QUEUED
    assert not site.keys


async def test_a_finish_is_asked_for_although_giving_back_was_not_heard(site: Site) -> None:
    """The catalog stumbles twice: the finish was carried out, giving back had no answer at all."""
    await site.queued(A)
    modify = nth(site.catalog.modify_image, 2, after=catalog_fails)
    stumbling = nth(modify, 3, before=catalog_fails)
    node = site.node(catalog=detour(site.catalog, modify_image=stumbling))

    image = await node.upload(A, send(), len(BODY))

    assert image.status is Status.ACTIVE


async def test_a_finish_that_arrives_after_giving_back_is_refused(site: Site) -> None:
    """The successor's upload is under way; a late finish must not pass its bytes off as whole."""
    await site.queued(A)
    refused: list[type[Exception]] = []

    async def deliver_late(image_id: str, change: Change) -> None:
        await anyio.sleep(5)
        try:
            await site.catalog.modify_image(image_id, change)
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            refused.append(type(error))

    async def times_out(image_id: str, change: Change) -> Image:
        site.start(deliver_late(image_id, change))
        raise CatalogError("The catalog did not answer in time.")

    modify = nth(site.catalog.modify_image, 2, before=times_out)
    node = site.node("first", catalog=detour(site.catalog, modify_image=modify))
    with pytest.raises(CatalogError):
        await node.upload(A, send(), len(BODY))
    image = await site.node("second").upload(A, send(chunks=4, every=5), replaces=True)

    assert refused == [ClaimLost]
    assert image.content is not None
    assert image.content.size_bytes == 37
    site.audit()


async def test_giving_back_late_does_not_disturb_the_successor(site: Site) -> None:
    """Whoever gives back names the claim; it is not the one that stands now."""
    await site.queued(A)
    node = site.node("first", beats=False)
    place = Location("near", make_key(A, UUID(int=1)), 64)
    async with node.claims.on_image(A, begin_upload(place)) as work:
        giving_back = give_back(work.claim, "It went silent.", final=False)
        await site.change(A, giving_back)
        site.start(_upload(site, A, send(chunks=4, every=5)))
        await anyio.sleep(1)
        with pytest.raises(ClaimLost):
            await site.change(A, giving_back)

        assert (await site.image(A)).status is Status.SAVING
        await anyio.sleep(30)
        assert (await site.image(A)).status is Status.ACTIVE


# what ends a claim


async def test_deleting_while_saving_stops_the_writer_within_one_renewal(site: Site) -> None:
    """The writer stops, its client hears that the image was deleted, and its bytes go."""
    await site.queued(A)
    node = site.node()
    site.start(_delete_at(site, A, 15))

    with pytest.raises(ImageDeleted):
        await node.upload(A, send(chunks=50, every=8))

    assert elapsed() <= 15 + ROUND + 1
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs


async def test_deleting_while_staging_stops_the_writer(site: Site) -> None:
    """The same for data that was to be imported."""
    await site.queued(A)
    site.start(_delete_at(site, A, 15))

    with pytest.raises(ImageDeleted):
        await site.node().stage(A, send(chunks=50, every=8))
    await site.settle()

    assert not site.keys
    assert not site.catalog.blobs


async def test_a_node_that_is_stopped_gives_back_at_once(site: Site) -> None:
    """Cancelled from outside, it still says that it gives up; nobody has to wait for the lease."""
    await site.queued(A)
    node = site.node()

    with anyio.move_on_after(5):
        await node.upload(A, send(chunks=50, every=1))
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.last_failure is not None
    assert image.last_failure.reason == "The server was stopped."


async def test_giving_back_does_not_wait_for_ever(site: Site) -> None:
    """A catalog that never answers holds up a node that stops no longer than one lease."""
    await site.queued(A)
    modify = from_nth(site.catalog.modify_image, 2, pause(10_000))
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    with anyio.move_on_after(5):
        await node.upload(A, send(chunks=50, every=1), 451)

    assert elapsed() <= 5 + SILENCE + 11


async def _upload(site: Site, image_id: str, body: AsyncGenerator[bytes]) -> None:
    await site.node("uploader").upload(image_id, body)


async def _delete_at(site: Site, image_id: str, seconds: float) -> None:
    await anyio.sleep(seconds)
    await site.node("deleter").delete(image_id)
