"""Verifying: damage is found, told, and marked; and the mark goes when it is mended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from structlog.testing import capture_logs

from imaged.core.deletion import deactivate, delete
from imaged.core.errors import BlobMissing, ImageNotFound, InvalidTransition, NotPermitted
from imaged.core.image import Image
from imaged.core.task import TaskStatus
from support.bodies import BODY
from support.callers import ADMIN, OWNER, READER, STRANGER
from support.cluster import Cluster
from support.faults import nth, override_calls, store_fails
from support.node import A

pytestmark = pytest.mark.anyio


async def verified(cluster: Cluster) -> tuple[dict[str, Any], list[Any], Image]:
    """The result, the errors in the log, and the image afterwards."""
    with capture_logs() as lines:
        task = await cluster.node().do_task("verify", {"image_id": A}, OWNER)
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    errors = [line for line in lines if line["log_level"] == "error"]
    return dict(task.result), errors, await cluster.image(A)


async def test_an_image_that_is_whole(cluster: Cluster) -> None:
    """All is right, nothing is marked, and the image has not changed."""
    before = await cluster.active(A)

    result, errors, image = await verified(cluster)

    assert result["healthy"] is True
    assert result["size_bytes"] == len(BODY)
    assert result["stores"] == ["near"]
    assert "problems" not in result
    assert not errors
    assert image == before


@pytest.mark.parametrize(
    ("rotten", "problem"),
    [
        (BODY[:-1], f"has {len(BODY) - 1} bytes, and not {len(BODY)}"),
        (b"X" + BODY[1:], "has the checksum"),
        (None, "is missing"),
    ],
)
async def test_damage_is_told_and_marked(
    cluster: Cluster, rotten: bytes | None, problem: str
) -> None:
    """In the result, as an error in the log, and on the image until it is mended."""
    image = await cluster.active(A)
    key = image.locations[0].key
    if rotten is None:
        del cluster.near.blobs[key]
    else:
        cluster.near.blobs[key] = rotten

    result, errors, marked = await verified(cluster)

    assert result["healthy"] is False
    assert problem in result["problems"][0]
    assert {line["event"] for line in errors} == {"image.damaged"}
    assert errors[0]["image_id"] == A
    assert problem in (marked.damage or "")

    cluster.near.blobs[key] = BODY
    result, errors, mended = await verified(cluster)
    assert (result["healthy"], errors, mended.damage) == (True, [], None)


@pytest.mark.parametrize("recorded", [b"", b"1234"], ids=["none", "wrong"])
async def test_checksums_of_blocks_are_recorded(cluster: Cluster, recorded: bytes) -> None:
    """For bytes of versions before, and in place of what is wrong in the catalog itself; but never
    those of damaged bytes.
    """
    key = (await cluster.active(A)).locations[0].key
    right = cluster.catalog.block_checksums[key]
    for data, expected in ((b"X" + BODY[1:], recorded), (BODY, right)):
        cluster.catalog.block_checksums[key] = recorded
        cluster.near.blobs[key] = data

        await verified(cluster)

        assert cluster.catalog.block_checksums[key] == expected
    assert right != recorded


@pytest.mark.rule("tasks.22")
async def test_a_store_that_is_down_is_no_damage(cluster: Cluster) -> None:
    """Nothing is known of the bytes: the task fails, and says why; nothing is marked."""
    await cluster.active(A)

    @asynccontextmanager
    async def down(*_: object) -> AsyncIterator[None]:
        await store_fails()
        yield

    node = cluster.node(near=override_calls(cluster.near, open=down))

    task = await node.do_task("verify", {"image_id": A})

    assert task.status is TaskStatus.FAILURE
    assert "image store does not work" in (task.message or "")
    assert (await cluster.image(A)).damage is None


@pytest.mark.rule("tasks.21")
async def test_a_deleted_image_is_not_marked(cluster: Cluster) -> None:
    """Its bytes are going, as they should."""
    image = await cluster.active(A)
    del cluster.near.blobs[image.locations[0].key]

    async def deleted(*_: object) -> None:
        await cluster.change(A, delete(delayed=False))

    node = cluster.node(fault=nth(cluster.catalog.modify_image, 1, before=deleted))
    await node.do_task("verify", {"image_id": A})

    assert (await cluster.image(A)).damage is None


async def test_deletion_during_a_read_is_no_damage(cluster: Cluster) -> None:
    """Its bytes have gone, as they should: nothing is told, and the task says why it ended."""
    await cluster.active(A)

    @asynccontextmanager
    async def gone(key: str, start: int = 0) -> AsyncIterator[None]:
        await cluster.change(A, delete(delayed=False))
        raise BlobMissing("near", f"{key} from {start}")
        yield

    node = cluster.node(near=override_calls(cluster.near, open=gone))
    with capture_logs() as lines:
        task = await node.do_task("verify", {"image_id": A})

    assert task.status is TaskStatus.FAILURE
    assert [line for line in lines if line["log_level"] == "error"] == []


async def test_callers_that_may_ask(cluster: Cluster) -> None:
    """Its owner and admins, also where it is deactivated; it costs, so no other callers."""
    await cluster.queued(A)
    node = cluster.node()
    with pytest.raises(InvalidTransition):
        await node.task_service.create(OWNER, "verify", {"image_id": A})
    await node.upload(A)
    await cluster.change(A, deactivate)

    with pytest.raises(ImageNotFound):
        await node.task_service.create(STRANGER, "verify", {"image_id": A})
    with pytest.raises(NotPermitted):
        await node.task_service.create(READER, "verify", {"image_id": A})
    for caller in (OWNER, ADMIN):
        task = await node.do_task("verify", {"image_id": A}, caller)
        assert task.status is TaskStatus.SUCCESS
