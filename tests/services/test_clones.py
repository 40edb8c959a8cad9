"""Clones: images of the same bytes, each whole without the other."""

from __future__ import annotations

from datetime import timedelta

import pytest

from imaged.core.access import Caller
from imaged.core.deletion import deactivate
from imaged.core.errors import DataForbidden, ImageNotFound, InvalidTransition, QuotaExceeded
from imaged.core.lifecycle import Status
from support.bodies import BODY
from support.callers import ADMIN, OWNER
from support.cluster import Cluster
from support.node import A, B

pytestmark = pytest.mark.anyio


@pytest.mark.rule("ledger.4")
async def test_a_clone_costs_no_bytes_in_the_store(cluster: Cluster) -> None:
    """It is active at once, with all that is known of the bytes; its owner pays for them too."""
    source = await cluster.active(A)
    await cluster.queued(B, owner="p2")

    clone = await cluster.node().clone(ADMIN, A, B)

    assert (clone.status, clone.content) == (Status.ACTIVE, source.content)
    assert cluster.keys == {source.locations[0].key}
    assert (await cluster.catalog.get_account("p2")).used_bytes == len(BODY)
    cluster.audit()


@pytest.mark.parametrize("first", [A, B])
@pytest.mark.parametrize("delayed", [True, False])
@pytest.mark.rule("ledger.4", "ledger.10", "ledger.11", "scrubbing.1")
async def test_each_is_whole_without_the_other(
    cluster: Cluster, first: str, *, delayed: bool
) -> None:
    """Source or clone, deleted with a delay or without: the other one keeps its bytes."""
    await cluster.active(A)
    await cluster.queued(B)
    node = cluster.node()
    await node.clone(OWNER, A, B)
    second = B if first == A else A

    await node.delete(first, delayed=delayed)
    await cluster.settle()
    other = await cluster.image(second)

    assert (await cluster.image(first)).status is Status.DELETED
    assert other.status is Status.ACTIVE
    assert cluster.keys == {other.locations[0].key}

    await node.delete(second)
    await cluster.settle()
    assert not cluster.keys
    assert not cluster.catalog.blobs


@pytest.mark.rule("ledger.4", "ledger.10", "scrubbing.1")
async def test_an_expired_image_does_not_wait_for_bytes_that_live_on(cluster: Cluster) -> None:
    """They are not its own any more: its record goes at once, and its owner pays no longer."""
    await cluster.active(A)
    await cluster.queued(B, owner="p2")
    node = cluster.node(delay=timedelta(0))
    await node.clone(ADMIN, A, B)
    await node.delete(A)

    await node.scrubber.run_due()

    assert (await cluster.image(A)).status is Status.DELETED
    assert (await cluster.catalog.get_account("p1")).used_bytes == 0
    cluster.audit()


async def test_a_restored_source_is_whole_beside_its_clone(cluster: Cluster) -> None:
    """While it waited, it held its bytes like everybody else."""
    await cluster.active(A)
    await cluster.queued(B)
    node = cluster.node()
    await node.clone(OWNER, A, B)
    await node.delete(A)
    await node.delete(B, delayed=False)
    await node.scrubber.run_due()

    assert (await node.restore(A)).status is Status.ACTIVE
    cluster.audit()


async def test_only_complete_images_are_cloned(cluster: Cluster) -> None:
    """There is nothing to share in a queued one, and a deleted one is not there."""
    await cluster.queued(A)
    await cluster.queued(B)
    node = cluster.node()

    with pytest.raises(InvalidTransition):
        await node.clone(OWNER, A, B)
    await node.upload(A)
    await node.delete(A)
    with pytest.raises(ImageNotFound):
        await node.clone(OWNER, A, B)


async def test_only_a_queued_image_becomes_a_clone(cluster: Cluster) -> None:
    """What has data keeps it."""
    await cluster.active(A)
    before = await cluster.active(B)

    with pytest.raises(InvalidTransition):
        await cluster.node().clone(OWNER, A, B)

    assert await cluster.image(B) == before


async def test_cloning_needs_read_and_write_rights(cluster: Cluster) -> None:
    """A deactivated source is for admins; an image of others is not seen at all."""
    await cluster.active(A)
    await cluster.queued(B)
    await cluster.change(A, deactivate)
    node = cluster.node()
    stranger = Caller("bob", "p2", frozenset({"member"}))

    with pytest.raises(DataForbidden):
        await node.clone(OWNER, A, B)
    with pytest.raises(ImageNotFound):
        await node.clone(stranger, A, B)

    assert (await node.clone(ADMIN, A, B)).status is Status.ACTIVE


async def test_a_clone_needs_room_in_its_owners_quota(cluster: Cluster) -> None:
    """And where there is none, nothing has changed."""
    await cluster.active(A)
    await cluster.queued(B, owner="p2")
    await cluster.catalog.set_limit("p2", len(BODY) - 1)

    with pytest.raises(QuotaExceeded):
        await cluster.node().clone(ADMIN, A, B)

    assert (await cluster.image(B)).status is Status.QUEUED
    cluster.audit()
