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
    image_id = await service.create_active(b"hello")
    replies = [
        await service.call(method, path.replace("{id}", image_id)) for method in ("GET", "HEAD")
    ]
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


async def test_an_image_without_data(service: Service) -> None:
    """204, as for GET."""
    image_id = await service.create()
    assert (await service.call("HEAD", f"/v2/images/{image_id}/file")).status == 204


async def test_data_that_may_not_be_read(service: Service) -> None:
    """403, as for GET."""
    image_id = await service.create_active(b"hello")
    await service.call("POST", f"/v2/images/{image_id}/actions/deactivate", caller="root")
    assert (await service.call("HEAD", f"/v2/images/{image_id}/file")).status == 403


async def test_unreadable_data_has_no_head(service: Service) -> None:
    """HEAD is possible where GET is."""
    image_id = await service.create()
    reply = await service.call("HEAD", f"/v2/images/{image_id}/import")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
