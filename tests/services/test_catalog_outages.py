"""A catalog that is away for a while: work under way waits for it, as long as its lease holds."""

from __future__ import annotations

from collections.abc import AsyncIterable
from functools import partial
from typing import Any

import anyio
import pytest

from imaged.core.block import Block
from imaged.core.errors import CatalogError, CatalogUnavailable
from imaged.core.lifecycle import Status
from imaged.ports.store import RecordUploadId
from imaged.services.ingest import DOOM_SECONDS
from support.bodies import BODY, CHUNK, send, send_broken
from support.cluster import Cluster
from support.faults import away, catalog_fails, nth, override_calls
from support.node import LEASE, RENEW_EVERY, A, B
from support.quotas import used_bytes
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

TRUST = (LEASE - RENEW_EVERY).total_seconds()
CHUNKS = 20


@pytest.mark.parametrize(
    ("way", "status"), [("upload", Status.ACTIVE), ("stage", Status.UPLOADING)]
)
async def test_a_body_that_ends_while_it_is_away(
    cluster: Cluster, way: str, status: Status
) -> None:
    """It is finished when the catalog is back, and its client hears of a success."""
    await cluster.queued(A)
    node = cluster.node(catalog=away(cluster.catalog, 1, 40))
    image = await getattr(node, way)(A, send(every=5), len(BODY))
    assert (image.status, image.claim) == (status, None)
    assert 40 <= elapsed() < 45
    cluster.audit()


async def test_an_upload_of_unknown_length_that_outgrows_its_slice(cluster: Cluster) -> None:
    """More is reserved when the catalog is back; the bytes wait."""
    await cluster.queued(A)
    node = cluster.node(catalog=away(cluster.catalog, 5, 40), slice_bytes=len(CHUNK))
    image = await node.upload(A, send(chunks=CHUNKS, every=1))
    assert image.content is not None
    assert image.content.size_bytes == CHUNKS * len(CHUNK) + 1
    assert await used_bytes(cluster.catalog, "p1") == image.content.size_bytes


async def test_a_name_that_a_store_gave_is_noted_when_it_is_back(cluster: Cluster) -> None:
    """Without it, the upload could not be aborted."""
    await cluster.queued(A)
    put = cluster.near.put

    async def named(
        key: str, blocks: AsyncIterable[Block], expected_bytes: int | None, record: RecordUploadId
    ) -> int:
        await anyio.sleep(5)
        await record("an upload")
        return await put(key, blocks, expected_bytes)

    node = cluster.node(
        catalog=away(cluster.catalog, 1, 40), near=override_calls(cluster.near, put=named)
    )
    image = await node.upload(A, send(), len(BODY))

    assert cluster.catalog.blobs[image.locations[0].key].upload_id == "an upload"


async def test_a_body_that_breaks_off_while_it_is_away(cluster: Cluster) -> None:
    """The image does not stay in saving until it is reclaimed: it is given back."""
    await cluster.queued(A)
    node = cluster.node(catalog=away(cluster.catalog, 1, 40))
    with pytest.raises(RuntimeError):
        await node.upload(A, send_broken(RuntimeError("torn"), after=5))
    assert elapsed() < 45
    await cluster.require_clean_retry(A)


async def test_it_is_away_for_longer_than_the_lease(cluster: Cluster) -> None:
    """The work ends before others may take it back, and nothing is left of it."""
    await cluster.queued(A)
    node = cluster.node(catalog=away(cluster.catalog, 1, 1000))
    with pytest.raises(CatalogUnavailable):
        await node.upload(A, send(every=5), len(BODY))
    assert elapsed() <= TRUST + DOOM_SECONDS
    await cluster.settle()
    await cluster.require_clean_retry(A)


async def test_work_that_has_not_begun_does_not_wait(cluster: Cluster) -> None:
    """Its client hears at once that the catalog is away, and may go to another instance."""
    await cluster.queued(A)
    with pytest.raises(CatalogUnavailable):
        await cluster.node(catalog=away(cluster.catalog, 0, 40)).upload(A)
    assert elapsed() == 0


@pytest.mark.parametrize("call", [1, 2], ids=["begin", "finish"])
async def test_permanent_errors_are_not_retried(cluster: Cluster, call: int) -> None:
    """A catalog that is damaged, or of another version, is no better in a minute."""
    await cluster.queued(B)
    asked: list[float] = []

    async def fails(*args: Any) -> None:
        asked.append(elapsed())
        await catalog_fails(*args)

    modify = nth(cluster.catalog.modify_image, call, before=partial(fails))
    with pytest.raises(CatalogError):
        await cluster.node(catalog=override_calls(cluster.catalog, modify_image=modify)).upload(B)

    assert asked == [0]
