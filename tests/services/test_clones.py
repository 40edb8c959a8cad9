"""Clones: images of the same bytes, each whole without the other."""

from __future__ import annotations

from datetime import timedelta

import pytest

from imaged.core.access import Caller
from imaged.core.errors import DataForbidden, ImageNotFound, InvalidTransition, QuotaExceeded
from imaged.core.lifecycle import Status
from imaged.core.removal import deactivate
from support.bodies import BODY
from support.node import ADMIN, OWNER, A, B
from support.site import Site

pytestmark = pytest.mark.anyio


async def test_a_clone_costs_no_bytes_in_the_store(site: Site) -> None:
    """It is active at once, with all that is known of the bytes; its owner pays for them too."""
    source = await site.active(A)
    await site.queued(B, owner="p2")

    clone = await site.node().clone(ADMIN, A, B)

    assert (clone.status, clone.content) == (Status.ACTIVE, source.content)
    assert site.keys == {source.locations[0].key}
    assert (await site.catalog.get_account("p2")).used_bytes == len(BODY)
    site.audit()


@pytest.mark.parametrize("first", [A, B])
@pytest.mark.parametrize("delayed", [True, False])
async def test_each_is_whole_without_the_other(site: Site, first: str, *, delayed: bool) -> None:
    """Source or clone, deleted with a delay or without: the other one keeps its bytes."""
    await site.active(A)
    await site.queued(B)
    node = site.node()
    await node.clone(OWNER, A, B)
    second = B if first == A else A

    await node.delete(first, delayed=delayed)
    await site.settle()
    other = await site.image(second)

    assert (await site.image(first)).status is Status.DELETED
    assert other.status is Status.ACTIVE
    assert site.keys == {other.locations[0].key}

    await node.delete(second)
    await site.settle()
    assert not site.keys
    assert not site.catalog.blobs


async def test_an_expired_image_does_not_wait_for_bytes_that_live_on(site: Site) -> None:
    """They are not its own any more: its record goes at once, and its owner pays no longer."""
    await site.active(A)
    await site.queued(B, owner="p2")
    node = site.node(delay=timedelta(0))
    await node.clone(ADMIN, A, B)
    await node.delete(A)

    await node.scrubber.run_due()

    assert (await site.image(A)).status is Status.DELETED
    assert (await site.catalog.get_account("p1")).used_bytes == 0
    site.audit()


async def test_a_restored_source_is_whole_beside_its_clone(site: Site) -> None:
    """While it waited, it held its bytes like everybody else."""
    await site.active(A)
    await site.queued(B)
    node = site.node()
    await node.clone(OWNER, A, B)
    await node.delete(A)
    await node.delete(B, delayed=False)
    await node.scrubber.run_due()

    assert (await node.restore(A)).status is Status.ACTIVE
    site.audit()


async def test_only_complete_images_are_cloned(site: Site) -> None:
    """There is nothing to share in a queued one, and a deleted one is not there."""
    await site.queued(A)
    await site.queued(B)
    node = site.node()

    with pytest.raises(InvalidTransition):
        await node.clone(OWNER, A, B)
    await node.upload(A)
    await node.delete(A)
    with pytest.raises(ImageNotFound):
        await node.clone(OWNER, A, B)


async def test_only_a_queued_image_becomes_a_clone(site: Site) -> None:
    """What has data keeps it."""
    await site.active(A)
    before = await site.active(B)

    with pytest.raises(InvalidTransition):
        await site.node().clone(OWNER, A, B)

    assert await site.image(B) == before


async def test_cloning_asks_who_may_read_and_who_may_write(site: Site) -> None:
    """A deactivated source is for admins; an image of others is not seen at all."""
    await site.active(A)
    await site.queued(B)
    await site.change(A, deactivate)
    node = site.node()
    stranger = Caller("bob", "p2", frozenset({"member"}))

    with pytest.raises(DataForbidden):
        await node.clone(OWNER, A, B)
    with pytest.raises(ImageNotFound):
        await node.clone(stranger, A, B)

    assert (await node.clone(ADMIN, A, B)).status is Status.ACTIVE


async def test_a_clone_needs_room_in_its_owners_quota(site: Site) -> None:
    """And where there is none, nothing has changed."""
    await site.active(A)
    await site.queued(B, owner="p2")
    await site.catalog.set_limit("p2", len(BODY) - 1)

    with pytest.raises(QuotaExceeded):
        await site.node().clone(ADMIN, A, B)

    assert (await site.image(B)).status is Status.QUEUED
    site.audit()
