"""What another service answers of an image that is to be cloned, and what is not even asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from imaged.core.errors import InvalidInput, NotPermitted
from imaged.core.task import TaskStatus
from imaged.services.tasks.types.remote_image import MAX_RECORD_BYTES
from support.callers import OWNER
from support.cluster import Cluster
from support.memory_fetcher import MemoryFetcher
from support.node import A, B
from support.quotas import used_bytes
from support.remote_service import (
    REMOTE_BODY,
    REMOTE_HOST,
    REMOTE_TOKEN,
    URL,
    fetch,
    made_by,
    web_of,
)

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"status": "deactivated"}, "the image is deactivated there, and not active"),
        ({"status": "queued"}, "the image is queued there, and not active"),
        ({"status": "x" * 99}, "what it answers is not an image"),
        ({"status": None}, "what it answers is not an image"),
        ({"size": None}, "its record does not have the size of the image"),
        ({"size": -1}, "what it answers is not an image"),
        ({"size": 5}, f"it sends {len(REMOTE_BODY)} bytes of an image of 5"),
        ({"disk_format": None}, "the image has no disk_format there"),
        ({"container_format": None}, "the image has no container_format there"),
        ({"disk_format": "abc"}, "the image there could not be one here: The attribute 'disk_f"),
        ({"min_ram": "x"}, "the image there could not be one here: The attribute 'min_ram'"),
        ({"tags": "x"}, "the image there could not be one here: The attribute 'tags'"),
        ({f"p{n}": "" for n in range(200)}, "could not be one here: An image can have at most 128"),
        (
            {f"p{n}": "x" * 60_000 for n in range(5)},
            "The properties of an image may have 262144 bytes",
        ),
        ({"os_hash_value": "00" * 32}, "The sha256 of the data is"),
        ({"os_hash_algo": None, "checksum": "00" * 16}, "The md5 of the data is"),
        ({"os_hash_algo": "martian", "checksum": "00" * 16}, "The md5 of the data is"),
        ({"more": "x" * MAX_RECORD_BYTES}, "the record of the image has more than 1048576"),
    ],
)
async def test_an_unusable_answer(cluster: Cluster, record: Mapping[str, Any], why: str) -> None:
    """A failure that names host, phase and reason; nothing is left of it."""
    task = await fetch(cluster.node(web=web_of(**record)))

    assert task.status is TaskStatus.FAILURE
    message = task.message or ""
    assert message.startswith(f"Fetching from {REMOTE_HOST} failed (")
    assert why in message
    assert REMOTE_TOKEN not in message
    await cluster.settle()
    assert not cluster.keys
    assert await used_bytes(cluster.catalog, "p1") == 0


@pytest.mark.parametrize("answer", [b"", b"[]", b"<html>", b'"\xff"', b'{"a":' * 100_000])
async def test_an_answer_that_is_no_image(cluster: Cluster, answer: bytes) -> None:
    """Perhaps no Image API at all."""
    task = await fetch(cluster.node(web=MemoryFetcher({URL: answer})))
    assert (
        task.message
        == f"Fetching from {REMOTE_HOST} failed (answer): what it answers is not an image."
    )


async def test_a_missing_image(cluster: Cluster) -> None:
    """The fetcher says where, when and why."""
    task = await fetch(cluster.node(web=MemoryFetcher()))
    assert task.message == "Fetching from there failed (answer): it answered 404 Not Found."


async def test_nothing_is_promised(cluster: Cluster) -> None:
    """Then the size is all that can be compared; so also where its length comes with its end."""
    nothing: dict[str, Any] = {"checksum": None, "os_hash_algo": None, "os_hash_value": None}
    web = web_of(**nothing)
    web.says_size = False
    await made_by(cluster, await fetch(cluster.node(web=web)))

    short = web_of(REMOTE_BODY[:-1], **nothing)
    short.says_size = False
    task = await fetch(cluster.node(web=short))

    assert (
        task.message
        == f"{len(REMOTE_BODY)} bytes were announced, {len(REMOTE_BODY) - 1} were received."
    )


async def test_another_format_than_was_asked_for(cluster: Cluster) -> None:
    """The formats are those of the bytes, and known only now."""
    task = await fetch(cluster.node(web=web_of()), image_properties={"disk_format": "qcow2"})
    assert task.message == (
        "The field 'image_properties.disk_format' of the task's input must be that of the source, "
        "raw."
    )
    await made_by(
        cluster, await fetch(cluster.node(web=web_of()), image_properties={"disk_format": "raw"})
    )


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "'image_id'"),
        ({"image_id": A, "source_image_url": URL}, "'source_image_url'"),
        ({"image_id": A, "source_token": REMOTE_TOKEN}, "'source_token'"),
        ({"source_token": REMOTE_TOKEN}, "'image_id'"),
        ({"source_image_url": 5}, "'source_image_url'"),
        ({"source_image_url": "https://h/v2/images/x"}, "'source_image_url'"),
        ({"source_image_url": "ftp://h" + URL[7:]}, "'source_image_url'"),
        ({"source_image_url": f"{URL}?token=x"}, "'source_image_url'"),
        ({"source_image_url": f"{URL}#x"}, "'source_image_url'"),
        ({"source_image_url": f"{URL}/other"}, "'source_image_url'"),
        ({"source_image_url": f"https://inside/v2/images/{B}"}, "'source_image_url'"),
        ({"source_image_url": URL, "source_token": "a\r\nb"}, "'source_token'"),
        ({"source_image_url": URL, "source_token": "ä"}, "'source_token'"),
        ({"source_image_url": URL, "store": "mars"}, "'store'"),
        ({"source_image_url": URL, "image_properties": {"min_ram": "x"}}, "'min_ram'"),
    ],
)
async def test_what_is_refused_at_once(
    cluster: Cluster, fields: Mapping[str, object], named: str
) -> None:
    """The field is named; nothing is asked, and nothing is stored."""
    web = web_of()
    with pytest.raises(Exception, match=named):
        await cluster.node(web=web).task_service.create(OWNER, "clone", fields)
    assert not web.asked
    assert not cluster.catalog.tasks
    assert not cluster.catalog.images


async def test_rights_are_those_of_the_caller(cluster: Cluster) -> None:
    """Attributes that a caller may not set cannot be set by a task either."""
    node = cluster.node(web=web_of())
    for properties in ({"visibility": "public"}, {"owner": "p2"}):
        with pytest.raises(NotPermitted):
            await fetch(node, image_properties=properties)
    with pytest.raises(InvalidInput):
        await node.task_service.create(OWNER, "clone", {"source_image_url": "x" * 9000})
