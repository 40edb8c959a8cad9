"""Stages of a body: what is learnt of the bytes, and what is refused."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from imaged.core.access import Caller
from imaged.core.errors import (
    FormatRefused,
    FormatsUnset,
    ImageNotFound,
    NotPermitted,
    SizeMismatch,
    TooLarge,
    UnknownStore,
)
from imaged.services.ingest_pipeline import IngestSettings
from support import disk_images
from support.bodies import BODY, cut, send, unreadable_body
from support.callers import ADMIN
from support.cluster import Cluster
from support.node import A
from support.settings import configured
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio


# what is learnt of the bytes


@pytest.mark.parametrize("chunk_bytes", [1, 3, 1000, 10**6])
async def test_formats_are_found_however_bytes_are_cut(cluster: Cluster, chunk_bytes: int) -> None:
    """Digests, sizes and the disk inside are the same for every way to cut a body."""
    data = disk_images.qcow2()[:1024]
    await cluster.queued(A, disk_format="qcow2")

    image = await cluster.node().upload(A, cut(data, chunk_bytes), len(data))

    assert image.content is not None
    assert image.content.size_bytes == len(data)
    assert image.content.checksum == hashlib.md5(data, usedforsecurity=False).hexdigest()
    assert image.content.hash_algorithm == "sha512"
    assert image.content.hash_value == hashlib.sha512(data).hexdigest()
    assert image.content.virtual_size_bytes == disk_images.DISK_BYTES
    cluster.audit()


async def test_the_second_digest_is_configured(cluster: Cluster) -> None:
    """Another algorithm, and its name is kept with the digest."""
    await cluster.queued(A)
    node = cluster.node(stages=configured(IngestSettings, hash_algorithm="sha256"))
    image = await node.upload(A)
    assert image.content is not None
    assert image.content.hash_algorithm == "sha256"
    assert image.content.hash_value == hashlib.sha256(BODY).hexdigest()


async def test_a_small_body_needs_no_lanes(cluster: Cluster) -> None:
    """Threads of its own would take longer than its digests; it is judged all the same."""
    data = disk_images.qcow2()[:1024]
    await cluster.queued(A, disk_format="qcow2")
    node = cluster.node(lanes=forbidden)
    with pytest.raises(FormatRefused):
        await node.upload(A, cut(bytes(1024), 100), 1024)
    image = await node.upload(A, cut(data, 100), len(data))
    assert image.content is not None
    assert image.content.hash_value == hashlib.sha512(data).hexdigest()


def forbidden(work: Any, *, computes: bool = False) -> Any:
    """Makes no lane."""
    raise AssertionError(work, computes)


# what is refused before anything is read


@pytest.mark.parametrize(
    ("caller", "attributes", "announced_bytes", "store", "error"),
    [
        (ADMIN, {}, 101, None, TooLarge),
        (ADMIN, {}, None, "nowhere", UnknownStore),
        (ADMIN, {"disk_format": None}, None, None, FormatsUnset),
        (ADMIN, {"container_format": None}, None, None, FormatsUnset),
        (Caller("bob", "p2", frozenset({"member"})), {}, None, None, ImageNotFound),
        (Caller("rita", "p1", frozenset({"reader"})), {}, None, None, NotPermitted),
    ],
)
@pytest.mark.rule("bytes.4")
async def test_hopeless_uploads_are_refused_before_reading(  # noqa: PLR0917 - a table
    cluster: Cluster,
    caller: Caller,
    attributes: dict[str, Any],
    announced_bytes: int | None,
    store: str | None,
    error: type[Exception],
) -> None:
    """Nothing is read, nothing is written, nothing has changed."""
    before = await cluster.queued(A, **attributes)
    node = cluster.node(stages=configured(IngestSettings, max_size_bytes=100))
    with pytest.raises(error):
        await node.upload(A, unreadable_body(), announced_bytes, store, caller=caller)
    assert await cluster.image(A) == before
    assert not cluster.keys
    assert not cluster.catalog.blobs


# what is refused as it comes


@pytest.mark.parametrize("announced_bytes", [len(BODY) + 1, len(BODY) - 1, 0])
@pytest.mark.rule("bytes.6")
async def test_a_body_of_another_length_than_announced_is_refused(
    cluster: Cluster, announced_bytes: int
) -> None:
    """Shorter or longer: no data, no bytes left, and the retry works."""
    await cluster.queued(A)
    with pytest.raises(SizeMismatch):
        await cluster.node().upload(A, send(), announced_bytes)
    await cluster.require_clean_retry(A)


@pytest.mark.rule("bytes.5")
async def test_a_body_that_outgrows_the_largest_size_is_stopped(cluster: Cluster) -> None:
    """Not at its end: as soon as it is too large, and no byte over the limit is written."""
    await cluster.queued(A)
    node = cluster.node(stages=configured(IngestSettings, max_size_bytes=100))
    with pytest.raises(TooLarge):
        await node.upload(A, send(chunks=1000, every=1))
    assert elapsed() < 20
    assert max(map(len, cluster.near.partial.values())) <= 100
    await cluster.require_clean_retry(A)


async def test_no_bytes_have_no_format(cluster: Cluster) -> None:
    """Nova declares qcow2, and sends nothing, for a snapshot whose data is in volumes."""
    await cluster.queued(A, disk_format="qcow2")
    image = await cluster.node().upload(A, cut(b"", 1), 0)
    assert image.content is not None
    assert image.content.size_bytes == 0


@pytest.mark.parametrize(
    ("declared", "data"),
    [
        ("qcow2", disk_images.raw(2048)),
        ("raw", disk_images.qcow2()),
        ("qcow2", disk_images.qcow2(backing_file=b"/etc/hostname")),
    ],
)
@pytest.mark.rule("bytes.7")
async def test_bytes_of_another_format_than_declared_never_become_visible(
    cluster: Cluster, declared: str, data: bytes
) -> None:
    """The verdict comes before the commit; the image is queued and says why."""
    await cluster.queued(A, disk_format=declared)
    with pytest.raises(FormatRefused) as refusal:
        await cluster.node().upload(A, cut(data, 512), len(data))
    assert not cluster.near.blobs
    assert (await cluster.failure_of(A)).reason == str(refusal.value)
    await cluster.require_clean_retry(A)
