"""Claims: how work on an image begins, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection
from uuid import UUID

import anyio
import pytest

from imaged.core.blob import make_key
from imaged.core.claim import Claim
from imaged.core.errors import (
    CatalogError,
    ClaimLost,
    ImageDeleted,
    InvalidTransition,
    QuotaExceeded,
)
from imaged.core.image import Change, Image, Location
from imaged.core.lifecycle import Status
from imaged.core.uploading import begin_upload, give_back
from support.bodies import BODY, send
from support.cluster import Cluster
from support.faults import (
    Call,
    catalog_fails,
    catalog_unavailable,
    from_nth,
    nth,
    override_calls,
    pause,
)
from support.node import LEASE, RENEW_EVERY, A, B
from support.quotas import limit_total
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()
ROUND = RENEW_EVERY.total_seconds()


# what begins one


@pytest.mark.rule("claims.14", "quotas.2")
async def test_a_refused_begin_gives_nothing_back(cluster: Cluster) -> None:
    """The image is not ours: one question, one refusal, and no row is left."""
    await cluster.active(A)
    await cluster.queued(B)
    await limit_total(cluster.catalog, "p1", len(BODY))
    asked: list[str] = []

    async def watched(image_id: str, change: Change) -> Image:
        asked.append(image_id)
        return await cluster.catalog.modify_image(image_id, change)

    node = cluster.node(catalog=override_calls(cluster.catalog, modify_image=watched))
    before = (dict(cluster.catalog.images), dict(cluster.catalog.blobs))
    with pytest.raises(InvalidTransition):
        await node.upload(A)
    with pytest.raises(QuotaExceeded):
        await node.upload(B, send(), len(BODY))

    assert asked == [A, B]
    assert before == (cluster.catalog.images, cluster.catalog.blobs)
    assert not cluster.catalog.leases


@pytest.mark.rule("claims.15")
async def test_a_begin_without_an_answer_is_given_back(cluster: Cluster) -> None:
    """It was carried out, so no lease has to run out."""
    await cluster.queued(A)
    node = cluster.node(fault=nth(cluster.catalog.modify_image, 1, after=catalog_fails))
    with pytest.raises(CatalogError):
        await node.upload(A)
    assert (await cluster.image(A)).status is Status.QUEUED
    assert not cluster.catalog.leases


# a finish that is not heard, or heard late


@pytest.mark.parametrize(
    "after",
    [pause(SILENCE + 40), catalog_fails, catalog_unavailable],
    ids=["late", "lost", "lost for now"],
)
@pytest.mark.rule("claims.2", "claims.11", "quotas.1")
async def test_a_finish_whose_reply_is_late_or_lost_is_a_success(
    cluster: Cluster, after: Call
) -> None:
    """The catalog carries it out, and is asked once more before a failure is reported."""
    await cluster.queued(A)
    node = cluster.node(fault=nth(cluster.catalog.modify_image, 2, after=after))
    image = await node.upload(A, send(), len(BODY))
    await cluster.settle()
    assert (image.status, image.last_failure) == (Status.ACTIVE, None)
    assert image.version == (await cluster.image(A)).version
    assert {image.locations[0].key} == cluster.keys


@pytest.mark.rule("claims.11", "claims.13")
async def test_a_finish_heard_late_is_a_success_even_if_deleted_since(cluster: Cluster) -> None:
    """It was good when it was finished: what became of the image later is another story."""
    await cluster.queued(A)

    async def deleted_meanwhile(*_: object) -> None:
        await cluster.node("other").delete(A, delayed=False)
        await anyio.sleep(SILENCE + 40)

    node = cluster.node(fault=nth(cluster.catalog.modify_image, 2, after=deleted_meanwhile))

    image = await node.upload(A, send(), len(BODY))
    await cluster.settle()

    assert image.status is Status.DELETED
    assert not cluster.keys


async def test_a_finish_that_was_not_heard_is_a_failure(cluster: Cluster) -> None:
    """Refused before it was carried out: the client is told, and the image is given back."""
    await cluster.queued(A)
    node = cluster.node(fault=nth(cluster.catalog.modify_image, 2, before=catalog_fails))
    with pytest.raises(CatalogError):
        await node.upload(A, send(), len(BODY))
    await cluster.settle()
    assert (await cluster.image(A)).status is Status.QUEUED
    assert not cluster.keys


@pytest.mark.rule("claims.12")
async def test_a_finish_is_asked_for_although_giving_back_was_not_heard(cluster: Cluster) -> None:
    """The catalog stumbles twice: the finish was carried out, giving back had no answer at all."""
    await cluster.queued(A)
    modify = nth(cluster.catalog.modify_image, 2, after=catalog_fails)
    stumbling = nth(modify, 3, before=catalog_fails)
    node = cluster.node(catalog=override_calls(cluster.catalog, modify_image=stumbling))
    image = await node.upload(A, send(), len(BODY))
    assert image.status is Status.ACTIVE


@pytest.mark.rule("claims.1", "bytes.1", "quotas.1")
async def test_a_finish_that_arrives_after_giving_back_is_refused(cluster: Cluster) -> None:
    """The successor's upload is under way; a late finish must not pass its bytes off as whole."""
    await cluster.queued(A)
    refused: list[type[Exception]] = []

    async def deliver_late(image_id: str, change: Change) -> None:
        await anyio.sleep(5)
        try:
            await cluster.catalog.modify_image(image_id, change)
        except Exception as error:  # noqa: BLE001 - which one it is, is the question
            refused.append(type(error))

    async def times_out(image_id: str, change: Change) -> Image:
        cluster.start(deliver_late(image_id, change))
        raise CatalogError("The catalog did not answer in time.")

    node = cluster.node("first", fault=nth(cluster.catalog.modify_image, 2, before=times_out))
    with pytest.raises(CatalogError):
        await node.upload(A, send(), len(BODY))
    image = await cluster.node("second").upload(A, send(chunks=4, every=5), replaces=True)

    assert refused == [ClaimLost]
    assert image.content is not None
    assert image.content.size_bytes == 37
    cluster.audit()


@pytest.mark.rule("claims.2")
async def test_giving_back_late_does_not_disturb_the_successor(cluster: Cluster) -> None:
    """Giving back names the claim, which is not the current one."""
    await cluster.queued(A)
    node = cluster.node("first", beats=False)
    place = Location("near", make_key(A, UUID(int=1)), 64)
    async with node.claims.on_image(A, begin_upload(place)) as work:
        giving_back = give_back(work.claim, "It went silent.", final=False)
        await cluster.change(A, giving_back)
        cluster.start(_upload(cluster, A, send(chunks=4, every=5)))
        await anyio.sleep(1)
        with pytest.raises(ClaimLost):
            await cluster.change(A, giving_back)

        assert (await cluster.image(A)).status is Status.SAVING
        await anyio.sleep(30)
        assert (await cluster.image(A)).status is Status.ACTIVE


async def test_a_claim_that_takes_long_to_begin_is_renewed_at_once(cluster: Cluster) -> None:
    """A busy catalog made it wait for longer than a process relies on a renewal, and it goes on."""
    await cluster.queued(A)
    node = cluster.node(fault=nth(cluster.catalog.modify_image, 1, before=pause(SILENCE)))

    assert (await node.upload(A, send(), len(BODY))).status is Status.ACTIVE
    cluster.audit()


async def test_a_renewal_that_takes_too_long_is_repeated_at_once(cluster: Cluster) -> None:
    """Without a further pause: of a lease only some rounds are left."""
    await cluster.queued(A)
    asked: list[float] = []

    async def watched(claims: Collection[Claim]) -> Collection[Claim]:
        asked.append(elapsed())
        if len(asked) == 1:
            await anyio.sleep(SILENCE)
        return await cluster.catalog.renew_leases(claims)

    node = cluster.node(catalog=override_calls(cluster.catalog, renew_leases=watched))
    await node.upload(A, send(chunks=4, every=ROUND))

    assert asked[1] - asked[0] == ROUND


# what ends a claim


@pytest.mark.parametrize("way", ["upload", "stage"])
@pytest.mark.rule("claims.6", "ledger.6")
async def test_deleting_stops_the_writer_within_one_renewal(cluster: Cluster, way: str) -> None:
    """Although its client sends nothing meanwhile, it stops and says why, and its bytes go."""
    await cluster.queued(A)
    node = cluster.node()
    cluster.start(_delete_at(cluster, A, 15))

    with pytest.raises(ImageDeleted):
        await getattr(node, way)(A, send(chunks=2, every=1000))

    assert elapsed() <= 15 + ROUND + 1
    await cluster.settle()
    assert not cluster.keys
    assert not cluster.catalog.blobs


@pytest.mark.rule("claims.16")
async def test_a_node_that_is_stopped_gives_back_at_once(cluster: Cluster) -> None:
    """Cancelled from outside, it still gives back, so the lease need not run out."""
    await cluster.queued(A)
    node = cluster.node()
    with anyio.move_on_after(5):
        await node.upload(A, send(chunks=50, every=1))
    assert (await cluster.image(A)).status is Status.QUEUED
    assert (await cluster.failure_of(A)).reason == "The server was stopped."


@pytest.mark.rule("claims.17")
async def test_giving_back_has_a_timeout(cluster: Cluster) -> None:
    """A catalog that never answers holds up a node that stops no longer than one lease."""
    await cluster.queued(A)
    node = cluster.node(fault=from_nth(cluster.catalog.modify_image, 2, pause(10_000)))
    with anyio.move_on_after(5):
        await node.upload(A, send(chunks=50, every=1), 451)
    assert elapsed() <= 5 + SILENCE + 11


async def _upload(cluster: Cluster, image_id: str, body: AsyncGenerator[bytes]) -> None:
    await cluster.node("uploader").upload(image_id, body)


async def _delete_at(cluster: Cluster, image_id: str, seconds: float) -> None:
    await anyio.sleep(seconds)
    await cluster.node("deleter").delete(image_id)
