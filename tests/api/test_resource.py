"""Conditions (RFC 9110, section 13): a service without ETags says so, and changes nothing."""

from __future__ import annotations

import pytest
from starlette.datastructures import Headers

from imaged.api.http_errors import PreconditionFailed
from imaged.api.images import V2_1
from imaged.api.resource import require_condition
from support.service import OCTETS, Service

FAILING = [
    ({"if-match": '"a"'}, True),
    ({"if-match": 'W/"a"'}, True),
    ({"if-match": '"a", "b"'}, True),
    ({"if-match": '"a"'}, False),
    ({"if-match": "*"}, False),
    ({"if-match": ""}, True),
    ({"if-none-match": "*"}, True),
]
HOLDING = [
    ({}, True),
    ({}, False),
    ({"if-match": "*"}, True),
    ({"if-match": " * "}, True),
    ({"if-none-match": '"a"'}, True),
    ({"if-none-match": "*"}, False),
    ({"if-unmodified-since": "Sat, 29 Oct 1994 19:43:31 GMT"}, True),
    ({"if-modified-since": "Sat, 29 Oct 1994 19:43:31 GMT"}, True),
]


@pytest.mark.parametrize(("headers", "exists"), FAILING)
def test_a_condition_that_cannot_hold(headers: dict[str, str], *, exists: bool) -> None:
    """It is refused by the name of its header."""
    with pytest.raises(PreconditionFailed, match=next(iter(headers)).title()):
        require_condition(Headers(headers), exists=exists)


@pytest.mark.parametrize(("headers", "exists"), HOLDING)
def test_a_condition_that_holds(headers: dict[str, str], *, exists: bool) -> None:
    """It changes nothing; those on moments are ignored: nothing here has a Last-Modified."""
    require_condition(Headers(headers), exists=exists)


CHANGES = [
    ("PATCH", "", b"[]", V2_1),
    ("DELETE", "", b"", ""),
    ("PUT", "/file", b"hello", OCTETS),
    ("PUT", "/stage", b"hello", OCTETS),
    ("PUT", "/tags/x", b"", ""),
    ("POST", "/actions/deactivate", b"", ""),
    ("POST", "/import", b"{}", "application/json"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("method", "path", "body", "media_type"), CHANGES)
async def test_an_unknown_etag_changes_nothing(
    service: Service, method: str, path: str, body: bytes, media_type: str
) -> None:
    """412, and the image is as it was; an image that is not there stays 404."""
    image_id = await service.create()
    before = service.image(image_id)
    headers = {"if-match": '"5f3b"', "content-type": media_type}
    for known, status in ((image_id, 412), ("00000000-0000-4000-8000-00000000dead", 404)):
        reply = await service.call(method, f"/v2/images/{known}{path}", body, headers=headers)
        assert reply.status == status, reply.text
    assert service.image(image_id) == before


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["", "/file"])
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"if-match": '"a"'}, 412),
        ({"if-match": "*"}, 200),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"a"'}, 200),
    ],
)
async def test_conditions_of_reads(
    service: Service, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    """What the client has already is not sent again, and never with a body."""
    image_id = await service.create_active(b"hello")
    reply = await service.call(method, f"/v2/images/{image_id}{path}", headers=headers)
    assert reply.status == status
    assert bool(reply.body) == (method == "GET" and status != 304)


@pytest.mark.asyncio
@pytest.mark.parametrize("condition", [{"if-match": '"a"'}, {"if-none-match": "*"}])
@pytest.mark.parametrize(("path", "status"), [("/", 300), ("/v2", 302)])
async def test_a_condition_on_an_answer_that_is_no_success(
    service: Service, path: str, status: int, condition: dict[str, str]
) -> None:
    """It is ignored (RFC 9110, 13.2.1): otherwise the client would not get its answer."""
    reply = await service.call("GET", path, headers=condition)
    assert reply.status == status


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("headers", "status"), [({"if-none-match": "*"}, 204), ({"if-match": "*"}, 412)]
)
async def test_data_are_made_by_their_request(
    service: Service, headers: dict[str, str], status: int
) -> None:
    """So they do not exist yet when a condition is looked at."""
    path = f"/v2/images/{await service.create()}/file"
    reply = await service.call("PUT", path, b"hello", headers={**headers, "content-type": OCTETS})
    assert reply.status == status, reply.text


@pytest.mark.asyncio
async def test_conditions_come_behind_other_refusals(service: Service) -> None:
    """A request that fails without its condition is answered as if it had none (13.2.1)."""
    deactivated = await service.create_active(b"hello")
    await service.call("POST", f"/v2/images/{deactivated}/actions/deactivate", caller="root")
    for path, status in ((f"/v2/images/{deactivated}/file", 403), ("/v2/nope", 404)):
        reply = await service.call("GET", path, headers={"if-match": '"a"'})
        assert reply.status == status
