"""Another service with an image, in memory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from imaged.core.access import Caller
from imaged.core.image import Image
from imaged.core.task import Task, TaskStatus
from support.callers import OWNER
from support.cluster import Cluster
from support.memory_fetcher import MemoryFetcher
from support.node import B, Node

REMOTE_BODY = b"bytes from far away"
URL = f"https://images.example.net:9292/image/v2/images/{B}"
REMOTE_HOST = "images.example.net:9292"
REMOTE_TOKEN = "gAAAAA-a-token"

REMOTE_RECORD: Mapping[str, Any] = {
    "id": B,
    "name": "debian",
    "status": "active",
    "disk_format": "raw",
    "container_format": "bare",
    "min_ram": 512,
    "min_disk": 2,
    "tags": ["stable"],
    "size": len(REMOTE_BODY),
    "checksum": hashlib.md5(REMOTE_BODY).hexdigest(),  # noqa: S324 - the API's checksum
    "os_hash_algo": "sha256",
    "os_hash_value": hashlib.sha256(REMOTE_BODY).hexdigest(),
    "virtual_size": None,
    "visibility": "public",
    "protected": True,
    "os_hidden": False,
    "owner": "them",
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "self": f"/v2/images/{B}",
    "file": f"/v2/images/{B}/file",
    "schema": "/v2/schemas/image",
    "stores": "theirs",
    "locations": [],
    "direct_url": "rbd://x",
    "os_distro": "debian",
    "os_glance_failed_import": "x",
    "imaged_last_failure": "x",
    "hw_numbers": 7,
}


def web_of(data: bytes = REMOTE_BODY, **record: Any) -> MemoryFetcher:
    """The other service; ``record`` is what it tells otherwise."""
    return MemoryFetcher(
        {URL: json.dumps({**REMOTE_RECORD, **record}).encode(), f"{URL}/file": data}
    )


async def fetch(node: Node, caller: Caller = OWNER, /, **fields: object) -> Task:
    """Clone the image of the other service."""
    given = {"source_image_url": URL, "source_token": REMOTE_TOKEN, **fields}
    return await node.do_task("clone", given, caller)


async def made_by(cluster: Cluster, task: Task) -> Image:
    """What the task made."""
    assert task.status is TaskStatus.SUCCESS, task.message
    assert task.result is not None
    assert task.image_id == task.result["image_id"]
    return await cluster.image(str(task.result["image_id"]))
