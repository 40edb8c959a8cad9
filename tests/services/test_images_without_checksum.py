"""Images without an md5: ``uploads.checksum = "none"``, as for hosts in FIPS mode."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from typing import Any, Literal

import pytest

from imaged.core import broken_upload
from imaged.core.errors import ClientVanished, RetryMismatch
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.services.ingest_pipeline import IngestSettings
from support.bodies import BODY, cut
from support.callers import ADMIN, OWNER
from support.cluster import Cluster
from support.node import A, Node
from support.settings import configured

pytestmark = pytest.mark.anyio

Checksum = Literal["md5", "none"]
FILE = bytes(range(1, 200))
CUT = 70
SHA256 = hashlib.sha256(BODY).hexdigest()


def node(cluster: Cluster, checksum: Checksum = "none", hash_algorithm: str = "sha256") -> Node:
    """An instance with these settings."""
    settings = configured(IngestSettings, checksum=checksum, hash_algorithm=hash_algorithm)
    return cluster.node(stages=settings)


async def uploaded(cluster: Cluster) -> Image:
    """An image without a checksum."""
    await cluster.queued(A)
    return await node(cluster).upload(A)


async def torn() -> AsyncGenerator[bytes]:
    """A body whose connection breaks off."""
    async for chunk in cut(FILE[:CUT], 7):
        yield chunk
    raise ClientVanished


async def test_the_record_has_the_other_digest_alone(cluster: Cluster) -> None:
    """The checksum is null, and what is stored is checked like that of others."""
    image = await uploaded(cluster)
    assert image.content is not None
    content = image.content
    assert (content.checksum, content.hash_algorithm, content.hash_value) == (
        *(None, "sha256"),
        SHA256,
    )
    cluster.audit()


@pytest.mark.parametrize(("first", "second"), [("none", "none"), ("md5", "none"), ("none", "md5")])
@pytest.mark.parametrize("hash_algorithm", ["sha256", "sha512", "md5"])
async def test_the_rest_of_a_broken_upload_is_refused(
    cluster: Cluster, first: Checksum, second: Checksum, hash_algorithm: str
) -> None:
    """Whatever digests the settings name then and now, the record is compared by its own."""
    await cluster.queued(A)
    with pytest.raises(ClientVanished):
        await node(cluster, first, "sha256").upload(A, torn(), len(FILE))
    broken = await cluster.broken_upload_of(A)
    assert broken.received_bytes == CUT
    assert broken.checksum.startswith("sha256:") == (first == "none")
    now = node(cluster, second, hash_algorithm)

    with pytest.raises(RetryMismatch):
        await now.upload(A, cut(FILE[CUT:] + FILE[:CUT], 7), len(FILE))
    image = await now.upload(A, cut(FILE, 7), len(FILE))

    assert image.content is not None
    assert (image.content.checksum is None) == (second == "none")
    cluster.audit()


async def test_a_broken_upload_whose_digest_is_gone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record with an md5 cannot be compared by a host without: another file needs the word."""
    await cluster.queued(A)
    with pytest.raises(ClientVanished):
        await node(cluster, "md5").upload(A, torn(), len(FILE))
    monkeypatch.setattr(broken_upload, "is_supported_algorithm", lambda name: name != "md5")

    with pytest.raises(RetryMismatch, match="no longer the digest of then"):
        await node(cluster).upload(A, cut(FILE, 7), len(FILE))
    image = await node(cluster).upload(A, cut(FILE, 7), len(FILE), replaces=True)
    assert image.status is Status.ACTIVE


@pytest.mark.parametrize("damaged", [False, True])
async def test_it_is_verified_by_the_other_digest(cluster: Cluster, damaged: bool) -> None:
    """Damage is found without a checksum."""
    image = await uploaded(cluster)
    if damaged:
        cluster.near.blobs[image.locations[0].key] = b"X" + BODY[1:]

    task = await cluster.node().do_task("verify", {"image_id": A}, OWNER)

    assert task.status is TaskStatus.SUCCESS, task.message
    result: dict[str, Any] = dict(task.result or {})
    assert (result["healthy"], result["checksum"]) == (not damaged, None)
    assert (await cluster.image(A)).damage is None or damaged


@pytest.mark.parametrize("damaged", [False, True])
@pytest.mark.parametrize("checksum", ["md5", "none"])
async def test_a_copy_is_compared_by_the_digest_of_its_source(
    cluster: Cluster, checksum: Checksum, damaged: bool
) -> None:
    """Also if the settings name another digest now: a damaged source gives no copy."""
    image = await uploaded(cluster)
    if damaged:
        cluster.near.blobs[image.locations[0].key] = b"X" + BODY[1:]
    copier = node(cluster, checksum, "sha512")
    copier.downloads.verify = False  # by blocks: they have checksums of their own

    task = await copier.do_task("clone", {"image_id": A, "store": "far"}, ADMIN)

    expected = TaskStatus.FAILURE if damaged else TaskStatus.SUCCESS
    assert task.status is expected, task.message


async def test_an_image_with_a_checksum_on_a_host_without_md5(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is verified by the other digest."""
    await cluster.active(A)
    from imaged.services import stream_checks

    monkeypatch.setattr(stream_checks, "is_supported_algorithm", lambda name: name != "md5")
    task = await cluster.node().do_task("verify", {"image_id": A}, OWNER)
    assert task.result is not None
    assert dict(task.result)["healthy"] is True
