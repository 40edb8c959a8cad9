"""Data that is not the whole of a file as it is: refused before anything is read or changed."""

from __future__ import annotations

import pytest

from support.service import OCTETS, Service

pytestmark = pytest.mark.asyncio

REFUSED = [
    ({"content-range": "bytes 500-999/1000"}, 400, "Content-Range"),  # `curl -C 500 -T`
    ({"content-range": "bytes 0-4/5"}, 400, "Content-Range"),
    ({"content-encoding": "gzip"}, 415, "'gzip'"),
    ({"content-encoding": "identity, zstd"}, 415, "'zstd'"),
    ({"content-type": "application/json"}, 415, OCTETS),
    ({"content-type": ""}, 415, OCTETS),
]


@pytest.mark.parametrize("path", ["file", "stage"])
@pytest.mark.parametrize(("headers", "status", "words"), REFUSED)
async def test_it_is_refused(
    service: Service, path: str, headers: dict[str, str], status: int, words: str
) -> None:
    """The image stays as it is, and takes the whole afterwards."""
    image_id = await service.create()
    before = service.image(image_id)
    sent = {"content-type": OCTETS, **headers}
    reply = await service.call("PUT", f"/v2/images/{image_id}/{path}", b"hello", headers=sent)
    assert (reply.status, words in reply.text) == (status, True), reply.text
    assert service.image(image_id) == before
    assert (await service.put_data(image_id, b"hello")).status == 204
