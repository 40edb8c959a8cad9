"""Data that is not the whole of a file as it is: refused before anything is read or changed."""

from __future__ import annotations

import pytest

from support.service import OCTETS, Service, ask, token_of

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


@pytest.mark.parametrize("path", ["file", "stage"])
async def test_data_without_an_end(service: Service, path: str) -> None:
    """Neither a length nor chunks: HTTP takes it for no body at all; data of length 0 is fine."""
    image_id = await service.create()
    sent = {"host": "images.test", "content-type": OCTETS, **token_of("alice")}
    address = f"/v2/images/{image_id}/{path}"
    reply = await ask(service.app, "PUT", address, sent, [b""])
    assert (reply.status, service.image(image_id).status) == (411, "queued")
    reply = await ask(service.app, "PUT", address, {**sent, "content-length": "0"}, [b""])
    assert reply.status == 204


async def test_identity_is_no_packing(service: Service) -> None:
    """``Content-Encoding: identity`` says that nothing was done."""
    image_id = await service.create()
    sent = {"content-type": OCTETS, "content-encoding": "identity"}
    reply = await service.call("PUT", f"/v2/images/{image_id}/file", b"hello", headers=sent)
    assert reply.status == 204
