"""Clones from another service: what is taken over, what is checked, which hosts get the token."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from structlog.testing import capture_logs

from imaged.core.errors import InvalidAttribute
from imaged.core.image import Visibility
from imaged.core.image_schema import ImageSchema, PropertySchema, PropertyType
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.ports.disk_image import ImportFacts
from imaged.services.ingest_pipeline import IngestSettings
from support.callers import OWNER
from support.cluster import Cluster
from support.disk_images import qcow2
from support.node import B, Node
from support.quotas import limit_total
from support.remote_service import (
    REMOTE_BODY,
    REMOTE_HOST,
    REMOTE_RECORD,
    REMOTE_TOKEN,
    URL,
    fetch,
    made_by,
    web_of,
)
from support.settings import configured

pytestmark = pytest.mark.anyio


class Picky:
    """A check that refuses bytes with a word in them; and takes down what it is told."""

    name = "picky"

    def __init__(self, word: bytes) -> None:
        self._word = word
        self.facts: ImportFacts | None = None
        self.seen = b""

    def begin(self, facts: ImportFacts) -> Picky:
        """Look at one more."""
        self.facts = facts
        return self

    def feed(self, chunk: bytes) -> None:
        """Look on."""
        self.seen += chunk

    def verdict(self) -> str | None:
        """Not this word."""
        return "it has the word" if self._word in self.seen else None


async def test_an_image_of_another_service(cluster: Cluster) -> None:
    """Described as there, but for the owner; with all bytes from there."""
    web = web_of()
    task = await fetch(cluster.node(web=web), image_properties={"name": "mine", "more": "y"})
    image = await made_by(cluster, task)

    assert (image.owner, image.status, image.visibility) == ("p1", Status.ACTIVE, Visibility.SHARED)
    assert (image.name, image.min_ram_mib, image.min_disk_gib) == ("mine", 512, 2)
    assert (image.disk_format, image.container_format) == ("raw", "bare")
    assert (image.tags, image.protected) == (("stable",), False)
    assert image.properties == {"os_distro": "debian", "more": "y"}
    assert image.id != B
    (place,) = image.locations
    assert cluster.near.blobs == {place.key: REMOTE_BODY}
    assert image.content is not None
    assert image.content.checksum == REMOTE_RECORD["checksum"]
    assert [url for url, _ in web.asked] == [URL, f"{URL}/file"]
    assert all(headers["X-Auth-Token"] == REMOTE_TOKEN for _, headers in web.asked)
    assert set(web.owners) == {"p1"}
    assert web.compared == [False, True]  # the record, and the bytes whose digest it tells
    assert task.progress is not None
    assert (task.progress.phase, task.progress.done_bytes) == ("fetching", len(REMOTE_BODY))
    cluster.audit()


async def test_the_token_is_nowhere(cluster: Cluster) -> None:
    """Not in what is stored, shown, or logged; and after the end not even sealed."""
    node = cluster.node(web=web_of(status="deactivated"))
    with capture_logs() as lines:
        fields = {"source_image_url": URL, "source_token": REMOTE_TOKEN}
        asked = await node.task_service.create(OWNER, "clone", fields)
        assert asked.sealed
        assert "source_token" not in asked.input
        await node.run_tasks()

    task = await cluster.catalog.get_task(asked.id)
    assert task.sealed is None
    assert REMOTE_TOKEN not in f"{lines} {task} {cluster.catalog.images}"


async def test_an_image_that_everybody_may_have(cluster: Cluster) -> None:
    """No token is sent where none is given; and the URL may be that of the bytes."""
    web = web_of()
    task = await fetch(cluster.node(web=web), source_token="", source_image_url=f"{URL}/file")
    await made_by(cluster, task)
    assert [url for url, _ in web.asked] == [URL, f"{URL}/file"]
    assert not any("X-Auth-Token" in headers for _, headers in web.asked)


async def test_into_a_store_that_is_named(cluster: Cluster) -> None:
    """Not into the default one."""
    task = await fetch(cluster.node(web=web_of()), store="far")
    assert [place.store for place in (await made_by(cluster, task)).locations] == ["far"]


async def test_the_deployers_checks(cluster: Cluster) -> None:
    """They are told what is known, and see every byte; one that refuses is told of."""
    picky = Picky(b"far away")
    task = await fetch(
        cluster.node(web=web_of(), checks=(Picky(b"near"), picky)), image_properties={"a": "b"}
    )

    assert task.status is TaskStatus.FAILURE
    assert "The check 'picky' refused the image: it has the word" in (task.message or "")
    assert picky.seen == REMOTE_BODY
    assert picky.facts is not None
    assert (picky.facts.owner, picky.facts.disk_format) == ("p1", "raw")
    assert picky.facts.source == REMOTE_HOST
    assert picky.facts.properties == {"os_distro": "debian", "a": "b"}


async def test_bytes_are_inspected(cluster: Cluster) -> None:
    """Against the format that the other service tells, as those of every upload are."""
    evil = qcow2(backing_file=b"/etc/passwd")
    told = {
        "size": len(evil),
        "os_hash_value": hashlib.sha256(evil).hexdigest(),
        "disk_format": "qcow2",
    }
    node = cluster.node(web=web_of(evil, **told))

    message = (await fetch(node)).message or ""
    assert "backing file" in message
    assert "passwd" not in message
    told["disk_format"] = "raw"
    task = await fetch(cluster.node(web=web_of(evil, **told)))
    assert "qcow2" in (task.message or "")
    await cluster.settle()
    assert not cluster.keys


async def test_another_format_than_raw(cluster: Cluster) -> None:
    """The clone has that of the image there, and its bytes were inspected as that."""
    data = qcow2()
    told = {"size": len(data), "os_hash_value": hashlib.sha256(data).hexdigest()}

    task = await fetch(cluster.node(web=web_of(data, disk_format="qcow2", **told)))

    assert (await made_by(cluster, task)).disk_format == "qcow2"


SCHEMA = ImageSchema(
    properties={
        "tier": PropertySchema(choices=("gold", "silver")),
        "hw_numbers": PropertySchema(types=(PropertyType.INTEGER,)),
    },
    required=frozenset({"tier"}),
    disk_formats=("squashfs",),
    container_formats=("crate",),
)
ALLOWED = {"disk_format": "squashfs", "container_format": "crate"}


def described_node(cluster: Cluster, **record: Any) -> Node:
    """A node whose operator has a schema; ``record``: what the other service tells otherwise."""
    node = cluster.node(web=web_of(**{**ALLOWED, **record}))
    node.runner.schema = node.task_service.schema = SCHEMA
    return node


async def test_the_schema_of_the_operator(cluster: Cluster) -> None:
    """It judges the clone: its formats are allowed, numbers stay numbers, and what is required may
    be there or in the task.
    """
    there = await made_by(cluster, await fetch(described_node(cluster, tier="gold")))
    task = await fetch(described_node(cluster), image_properties={"tier": "silver"})
    given = await made_by(cluster, task)

    assert (there.disk_format, there.container_format) == ("squashfs", "crate")
    assert there.properties == {"os_distro": "debian", "tier": "gold", "hw_numbers": 7}
    assert given.properties["tier"] == "silver"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"tier": "gold", "disk_format": "raw"}, "'disk_format' must be one of squashfs"),
        ({"tier": "gold", "container_format": "bare"}, "'container_format' must be one of crate"),
        ({"tier": "lead"}, "'tier' must be one of gold, silver"),
        ({"tier": "gold", "hw_numbers": 1.5}, "'hw_numbers' must be an integer"),
        ({}, "'tier' is required in this service"),
    ],
)
async def test_an_image_that_the_schema_refuses(
    cluster: Cluster, record: dict[str, Any], said: str
) -> None:
    """The task says why, and not a byte is fetched."""
    node = described_node(cluster, **record)
    message = (await fetch(node)).message or ""
    await cluster.settle()

    assert "the image there could not be one here" in message
    assert said in message
    assert not cluster.keys


async def test_what_the_task_gives_is_judged_at_once(cluster: Cluster) -> None:
    """Not after a request to the other service."""
    with pytest.raises(InvalidAttribute, match="'tier' must be one of"):
        await fetch(described_node(cluster), image_properties={"tier": "lead"})


async def test_limits(cluster: Cluster) -> None:
    """What it tells is too large, or more than the project may have: not a byte is fetched."""
    web = web_of()
    task = await fetch(cluster.node(web=web, stages=configured(IngestSettings, max_size_bytes=10)))
    assert task.message == "The data is larger than the limit of 10 bytes."

    await limit_total(cluster.catalog, "p1", len(REMOTE_BODY) - 1)
    task = await fetch(cluster.node(web=web))
    assert "The project p1 has a limit 'total' of" in str(task.message)
    await cluster.settle()
    assert not cluster.keys


@pytest.mark.parametrize("number", [1, 2, 3, 4])
async def test_a_worker_that_dies_at_each_of_its_steps(cluster: Cluster, number: int) -> None:
    """One image in the end; and of what the dead one wrote nothing is left."""
    web = web_of()
    node = cluster.node(web=web)
    fields = {"source_image_url": URL, "source_token": REMOTE_TOKEN}
    asked = await node.task_service.create(OWNER, "clone", fields)
    await cluster.run_tasks_after_deaths(node, number)

    await made_by(cluster, await cluster.catalog.get_task(asked.id))
    await cluster.settle()
    assert len(cluster.keys) == 1
