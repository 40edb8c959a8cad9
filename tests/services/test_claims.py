"""Claims: who works on an image, and what becomes of work that goes silent or is not heard."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import UUID

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import (
    CatalogError,
    ClaimLost,
    ClientVanished,
    ImageDeleted,
    InvalidTransition,
    QuotaExceeded,
)
from imaged.core.image import Change, Image, Location
from imaged.core.keys import make_key
from imaged.core.lifecycle import Status
from imaged.core.writing import begin_upload, give_back
from support.faults import catalog_fails, detour, from_nth, nth, pause
from support.node import BODY, LEASE, RENEW_EVERY, A, B, Site, send, send_torn
from support.virtual_time import START, elapsed

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()
ROUND = RENEW_EVERY.total_seconds()


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
    image = await site.node("second").upload(A, send(chunks=4, every=5))

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


# leases


async def test_a_heartbeat_keeps_long_work_alive(site: Site) -> None:
    """The deadline of the work moves on with each renewal, for as long as it takes."""
    await site.queued(A)
    node = site.node()

    image = await node.upload(A, send(chunks=60, every=10))

    assert elapsed() > 9 * SILENCE
    assert image.status is Status.ACTIVE
    assert node.claims.held == 0


async def test_a_node_that_hears_nothing_stops_before_others_may_act(site: Site) -> None:
    """It cannot renew, so its writer is stopped while the lease still runs."""
    await site.queued(A)
    node = site.node(catalog=detour(site.catalog, renew_leases=catalog_fails))

    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=50, every=5))

    assert SILENCE - ROUND <= elapsed() < SILENCE
    assert (await site.image(A)).status is Status.QUEUED


async def test_a_node_whose_heart_stands_still_stops_too(site: Site) -> None:
    """Nobody has to tell the writer: to be silent is enough."""
    await site.queued(A)
    node = site.node(beats=False)

    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=50, every=5))

    assert elapsed() < SILENCE


async def test_a_renewal_without_an_answer_does_not_hold_up_the_next(site: Site) -> None:
    """One renewal hangs; the next one, a little later, is in time."""
    await site.queued(A)
    renew = nth(site.catalog.renew_leases, 2, before=pause(1000))
    node = site.node(catalog=detour(site.catalog, renew_leases=renew))

    image = await node.upload(A, send(chunks=20, every=10))

    assert image.status is Status.ACTIVE


async def test_renewals_that_fail_are_told_once(site: Site) -> None:
    """A silence is one event in the log, and so is the next one after an answer."""
    await site.queued(A)
    renew = nth(site.catalog.renew_leases, 3, before=catalog_fails)
    for number in (4, 5, 8):
        renew = nth(renew, number, before=catalog_fails)
    node = site.node(catalog=detour(site.catalog, renew_leases=renew))

    with capture_logs() as logs:
        await node.upload(A, send(chunks=12, every=10))

    assert [e["event"] for e in logs].count("lease.renewal_failed") == 2


async def test_a_claim_that_came_late_is_not_trusted_for_longer(site: Site) -> None:
    """Trust counts from when the claim was asked for, not from when the answer came."""
    await site.queued(A)
    modify = nth(site.catalog.modify_image, 1, after=pause(SILENCE - ROUND - 1))
    node = site.node(catalog=detour(site.catalog, modify_image=modify), beats=False)

    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=50, every=1))

    assert elapsed() < SILENCE


async def test_only_what_is_held_is_renewed(site: Site) -> None:
    """Work that a living node dropped, and could not even give back, is taken back."""
    await site.queued(A)
    modify = from_nth(site.catalog.modify_image, 2, catalog_fails)
    node = site.node(catalog=detour(site.catalog, modify_image=modify))

    with pytest.raises(ClientVanished):
        await node.upload(A, send_torn(ClientVanished()), 100)
    assert (await site.image(A)).status is Status.SAVING
    await site.settle()

    assert (await site.image(A)).status is Status.QUEUED
    assert not site.keys


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


# what the image's owner is told


async def test_a_failure_is_dated_and_cleared_by_the_next_success(site: Site) -> None:
    """The image says which work failed, why and when, until data has come."""
    await site.queued(A)
    node = site.node()

    with pytest.raises(ClientVanished):
        await node.upload(A, send_torn(ClientVanished(), after=3))
    failure = (await site.image(A)).last_failure

    assert failure is not None
    assert failure.phase == "upload"
    assert failure.reason == str(ClientVanished())
    assert failure.at is not None
    assert (failure.at - START).total_seconds() == 3

    await node.upload(A)
    assert (await site.image(A)).last_failure is None


async def test_a_mistake_of_ours_is_not_told_in_detail(site: Site) -> None:
    """What the program stumbled over is for the log, not for the image's owner."""
    await site.queued(A)

    with pytest.raises(ZeroDivisionError):
        await site.node().upload(A, send_torn(ZeroDivisionError("at line 7")))
    failure = (await site.image(A)).last_failure

    assert failure is not None
    assert failure.reason == "The server made a mistake; its log says more."


async def test_a_failed_upload_kills_where_so_configured(site: Site) -> None:
    """The behaviour of v1: no data, nothing to be tried again, but it can be deleted."""
    await site.queued(A)
    node = site.node(kill_uploads=True)

    with pytest.raises(ClientVanished):
        await node.upload(A, send_torn(ClientVanished()))
    assert (await site.image(A)).status is Status.KILLED
    with pytest.raises(InvalidTransition):
        await node.upload(A)
    await node.delete(A)
    await site.settle()

    assert (await site.image(A)).status is Status.DELETED
    assert not site.keys


async def test_killing_is_for_uploads_only(site: Site) -> None:
    """What was to be imported may be staged again."""
    await site.queued(A)

    with pytest.raises(ClientVanished):
        await site.node(kill_uploads=True).stage(A, send_torn(ClientVanished()))

    assert (await site.image(A)).status is Status.QUEUED


async def _upload(site: Site, image_id: str, body: AsyncGenerator[bytes]) -> None:
    await site.node("uploader").upload(image_id, body)


async def _delete_at(site: Site, image_id: str, seconds: float) -> None:
    await anyio.sleep(seconds)
    await site.node("deleter").delete(image_id)
