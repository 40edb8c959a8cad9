"""What an image's owner is told of a failure, and what becomes of the image."""

from __future__ import annotations

import pytest

from imaged.core.errors import ClientVanished, InvalidTransition
from imaged.core.lifecycle import Status
from support.bodies import send_broken
from support.cluster import Cluster
from support.node import A
from support.virtual_time import VIRTUAL_START

pytestmark = pytest.mark.anyio


@pytest.mark.rule("claims.20", "claims.21", "bytes.1")
async def test_a_failure_is_dated_and_cleared_by_the_next_success(cluster: Cluster) -> None:
    """The image says which work failed, why and when, until data has come."""
    await cluster.queued(A)
    node = cluster.node()

    with pytest.raises(ClientVanished):
        await node.upload(A, send_broken(ClientVanished(), after=3))
    failure = await cluster.failure_of(A)

    assert failure.phase == "upload"
    assert failure.reason == str(ClientVanished())
    assert failure.at is not None
    assert (failure.at - VIRTUAL_START).total_seconds() == 3

    await node.upload(A)
    assert (await cluster.image(A)).last_failure is None


async def test_a_mistake_of_ours_is_not_told_in_detail(cluster: Cluster) -> None:
    """What the program stumbled over is for the log, not for the image's owner."""
    await cluster.queued(A)
    with pytest.raises(ZeroDivisionError):
        await cluster.node().upload(A, send_broken(ZeroDivisionError("at line 7")))
    failure = await cluster.failure_of(A)
    assert failure.reason == "The server made a mistake; its log has the details."


@pytest.mark.rule("claims.18")
async def test_a_failed_upload_kills_where_so_configured(cluster: Cluster) -> None:
    """The behaviour of v1: no data, nothing to be tried again, but it can be deleted."""
    await cluster.queued(A)
    node = cluster.node(kill_uploads=True)

    with pytest.raises(ClientVanished):
        await node.upload(A, send_broken(ClientVanished()))
    assert (await cluster.image(A)).status is Status.KILLED
    with pytest.raises(InvalidTransition):
        await node.upload(A)
    await node.delete(A)
    await cluster.settle()

    assert (await cluster.image(A)).status is Status.DELETED
    assert not cluster.keys


@pytest.mark.rule("claims.19")
async def test_killing_is_for_uploads_only(cluster: Cluster) -> None:
    """What was to be imported may be staged again."""
    await cluster.queued(A)
    with pytest.raises(ClientVanished):
        await cluster.node(kill_uploads=True).stage(A, send_broken(ClientVanished()))
    assert (await cluster.image(A)).status is Status.QUEUED
    assert (await cluster.failure_of(A)).phase == "staging"
