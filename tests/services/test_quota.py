"""Quotas: what is counted, from before the first byte, and what is given back."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.errors import QuotaExceeded
from imaged.core.image import Change, Image
from imaged.core.lifecycle import Status
from support.bodies import BODY, send
from support.cluster import Cluster
from support.faults import override_calls
from support.node import A, B
from support.quotas import limit_total, used_bytes

pytestmark = pytest.mark.anyio


async def used(cluster: Cluster, owner: str = "p1") -> int:
    """What the ledger says that a project uses."""
    return await used_bytes(cluster.catalog, owner)


@pytest.mark.rule("quotas.1", "quotas.3")
async def test_a_change_and_its_charge_are_one_transaction(cluster: Cluster) -> None:
    """At every moment the account is the sum of the images."""
    charged: list[tuple[int, int]] = []

    async def watched(image_id: str, change: Change) -> Image:
        image = await cluster.catalog.modify_image(image_id, change)
        total = sum(image.charge_bytes for image in cluster.catalog.images.values())
        charged.append((await used(cluster), total))
        return image

    node = cluster.node(
        catalog=override_calls(cluster.catalog, modify_image=watched), delay=timedelta(0)
    )
    await cluster.queued(A)
    await node.upload(A, send(chunks=20))
    await node.delete(A)
    await node.scrubber.run_due()

    assert [account for account, _ in charged] == [total for _, total in charged]
    assert {account for account, _ in charged} > {0, 181}


@pytest.mark.rule("quotas.2")
async def test_bytes_being_written_are_counted(cluster: Cluster) -> None:
    """The first upload reserves the room; what it does not need is free again."""
    await limit_total(cluster.catalog, "p1", 100)
    await cluster.queued(A)
    await cluster.queued(B)
    node = cluster.node()
    cluster.start(node.upload(A, send(chunks=9, every=5), 82))
    await anyio.sleep(1)

    with pytest.raises(QuotaExceeded):
        await node.upload(B, send(chunks=2), 19)
    await node.upload(B, send(), len(BODY))
    await anyio.sleep(60)

    assert await used(cluster) == 82 + len(BODY)
    cluster.audit()


@pytest.mark.rule("claims.5", "quotas.3")
async def test_a_body_of_unknown_length_reserves_ahead(cluster: Cluster) -> None:
    """One transaction for many blocks: what is reserved is more than what has come."""
    await cluster.queued(A)
    cluster.start(cluster.node(slice_bytes=64).upload(A, send(chunks=20, every=5)))

    await anyio.sleep(1)
    assert await used(cluster) == 9 + 64
    await anyio.sleep(45)
    assert await used(cluster) == 81 + 64
    await anyio.sleep(100)
    assert await used(cluster) == 181


@pytest.mark.rule("quotas.4")
async def test_a_body_of_unknown_length_fits_exactly(cluster: Cluster) -> None:
    """Where there is no room to reserve ahead, it is reserved byte by byte."""
    await limit_total(cluster.catalog, "p1", 181)
    await cluster.queued(A)
    image = await cluster.node(slice_bytes=64).upload(A, send(chunks=20))
    assert image.status is Status.ACTIVE
    assert await used(cluster) == 181


@pytest.mark.rule("quotas.4")
async def test_a_short_body_of_unknown_length_needs_no_room_ahead(cluster: Cluster) -> None:
    """A project with little left may still send little."""
    await limit_total(cluster.catalog, "p1", len(BODY))
    await cluster.queued(A)
    assert (await cluster.node(slice_bytes=64).upload(A)).status is Status.ACTIVE


@pytest.mark.rule("quotas.3")
async def test_a_body_that_outgrows_the_quota_is_stopped_and_given_back(cluster: Cluster) -> None:
    """Before bytes beyond the quota are written."""
    await limit_total(cluster.catalog, "p1", 200)
    await cluster.queued(A)

    with pytest.raises(QuotaExceeded):
        await cluster.node().upload(A, send(chunks=50))

    assert await used(cluster) == 0
    assert 100 < max(map(len, cluster.near.partial.values())) <= 200
    await cluster.settle()
    assert not cluster.keys


@pytest.mark.rule("quotas.2")
async def test_staged_bytes_and_what_is_made_of_them_count_once(cluster: Cluster) -> None:
    """An import of what is staged needs no more room than an upload of it."""
    await limit_total(cluster.catalog, "p1", len(BODY))
    await cluster.queued(A)
    node = cluster.node(slice_bytes=0)
    await node.stage(A)
    assert await used(cluster) == len(BODY)

    await node.ask_import(A)
    await node.run_tasks()

    assert (await cluster.image(A)).status is Status.ACTIVE
    assert await used(cluster) == len(BODY)
    await cluster.settle()
    assert await used(cluster) == len(BODY)
