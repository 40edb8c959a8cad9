"""HEAD (RFC 9110, section 9.3.2): the header of GET, no content, and no byte from a store."""

from __future__ import annotations

from typing import NoReturn

import pytest

from imaged.testing.memory_store import MemoryStore
from support.service import Service

pytestmark = pytest.mark.asyncio

PATHS = [
    "/",
    "/versions",
    "/livez",
    "/readyz",
    "/healthcheck",
    "/v2",
    "/v2/images",
    "/v2/images/{id}",
    "/v2/images/{id}/file",
    "/v2/images/{queued}/file",
    "/v2/images/{deactivated}/file",
    "/v2/images/{id}/tasks",
    "/v2/images/unknown",
    "/v2/tasks",
    "/v2/info/import",
    "/v2/info/stores",
    "/v2/schemas/image",
    "/v2/nope",
]


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_content(service: Service, path: str) -> None:
    """Status and header are the same, errors too, but for the id of the request."""
    ids = {
        "id": await service.create_active(b"hello"),
        "queued": await service.create(),
        "deactivated": await service.create_active(),
    }
    await service.call("POST", f"/v2/images/{ids['deactivated']}/actions/deactivate", caller="root")
    replies = [await service.call(method, path.format(**ids)) for method in ("GET", "HEAD")]
    get, head = [
        {name: text for name, text in reply.headers.items() if name != "x-openstack-request-id"}
        for reply in replies
    ]
    assert (replies[1].status, head) == (replies[0].status, get)
    assert not replies[1].body


class Unreadable(MemoryStore):
    """A store that must not be asked."""

    def open(self, key: str, start: int = 0) -> NoReturn:
        """Refuse all."""
        raise AssertionError((key, start))


async def test_no_store_is_asked() -> None:
    """The size of the data is known without the data; a range is only for GET."""
    service = Service(store=Unreadable("local"))
    image_id = await service.create_active(b"hello")
    reply = await service.call("HEAD", f"/v2/images/{image_id}/file", headers={"range": "bytes=9-"})
    assert (reply.status, reply.headers["content-length"]) == (200, "5")


async def test_unreadable_data_has_no_head(service: Service) -> None:
    """HEAD is possible where GET is."""
    image_id = await service.create()
    reply = await service.call("HEAD", f"/v2/images/{image_id}/import")
    assert (reply.status, reply.headers["allow"]) == (405, "POST, OPTIONS")
