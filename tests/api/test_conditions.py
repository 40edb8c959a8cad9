"""Conditions (RFC 9110, section 13): the ETag of a record, and what is changed only with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from starlette.datastructures import Headers

from imaged.api.conditions import Conditions
from imaged.api.http_errors import HttpError
from imaged.api.images import V2_1
from imaged.api.serialize import image_etag, image_json
from support.callers import ADMIN, OWNER, STRANGER
from support.sample_images import NOW, active, failure
from support.service import OCTETS, Service

A = '"a"'

#: The headers, the ETag, whether the resource exists; whether a change is made, and the status of a
#: read.
TABLE: list[tuple[dict[str, str], str | None, bool, bool, int]] = [
    ({"if-match": '"a"'}, A, True, True, 200),
    ({"if-match": '"b"'}, A, True, False, 412),
    ({"if-match": 'W/"a"'}, A, True, False, 412),
    ({"if-match": '"b", "a"'}, A, True, True, 200),
    ({"if-match": '"b","c"'}, A, True, False, 412),
    ({"if-match": '"b, a"'}, A, True, False, 412),
    ({"if-match": "a"}, A, True, False, 412),
    ({"if-match": ""}, A, True, False, 412),
    ({"if-match": "*"}, A, True, True, 200),
    ({"if-match": " * "}, A, True, True, 200),
    ({"if-match": '"a"'}, None, True, False, 412),
    ({"if-match": "*"}, None, True, True, 200),
    ({"if-match": "*"}, None, False, False, 412),
    ({"if-match": '"a"'}, A, False, True, 200),
    ({"if-match": "*"}, A, False, False, 412),
    ({"if-none-match": '"a"'}, A, True, False, 304),
    ({"if-none-match": 'W/"a"'}, A, True, False, 304),
    ({"if-none-match": '"b", W/"a"'}, A, True, False, 304),
    ({"if-none-match": '"b"'}, A, True, True, 200),
    ({"if-none-match": "a"}, A, True, True, 200),
    ({"if-none-match": "*"}, A, True, False, 304),
    ({"if-none-match": "*"}, None, True, False, 304),
    ({"if-none-match": "*"}, None, False, True, 200),
    ({"if-none-match": '"a"'}, None, True, True, 200),
    ({"if-match": '"a"', "if-none-match": '"a"'}, A, True, False, 412),
    ({"if-match": '"a"', "if-none-match": '"b"'}, A, True, True, 200),
    ({"if-match": '"b"', "if-none-match": '"a"'}, A, True, False, 412),
]


@pytest.mark.parametrize(("headers", "etag", "exists", "is_made", "status"), TABLE)
def test_the_table_of_conditions(
    headers: dict[str, str], etag: str | None, *, exists: bool, is_made: bool, status: int
) -> None:
    """If-Match takes precedence, and is strong; If-None-Match is weak, and 304 for reads."""
    conditions = Conditions.of(Headers(headers))
    assert conditions is not None
    failed = outcome(lambda: conditions.require(etag, exists=exists))
    unwanted = outcome(lambda: conditions.require_wanted(etag, exists=exists))
    assert (failed is None) is is_made
    assert (200 if unwanted is None else unwanted.http_status) == status
    for error in filter(None, (failed, unwanted)):
        assert error.headers == ({} if etag is None else {"ETag": etag})


def outcome(check: Callable[[], None]) -> HttpError | None:
    """The error that a check raises, if any."""
    try:
        check()
    except HttpError as error:
        return error
    return None


@pytest.mark.parametrize("name", ["if-unmodified-since", "if-modified-since", "if-range"])
def test_times_are_no_conditions(name: str) -> None:
    """They are ignored: nothing here has a Last-Modified."""
    assert Conditions.of(Headers({name: "Sat, 29 Oct 1994 19:43:31 GMT"})) is None


def test_several_lines_are_one_list() -> None:
    """As a proxy may have split them."""
    lines = [(b"if-match", b'"b"'), (b"if-match", b'"a"')]
    conditions = Conditions.of(Headers(raw=lines))
    assert conditions is not None
    conditions.require(A)


def test_an_etag_names_a_state_and_a_view() -> None:
    """It differs by version, by time (a restored backup has versions again), and by what the caller
    may see; and is the same as long as these are.
    """
    image = replace(active(), last_failure=failure(), damage="a block", version=3, updated_at=NOW)
    later = replace(image, updated_at=NOW + timedelta(microseconds=1))
    callers = (OWNER, STRANGER, ADMIN)
    states = (image, replace(image, version=4), later, replace(image, id="another"))
    tags = [image_etag(state, caller) for state in states for caller in callers]
    assert len(set(tags)) == len(tags)
    assert image_etag(replace(image), OWNER) == image_etag(image, OWNER)
    for caller in callers:
        seen = {one for one in callers if image_json(image, one) == image_json(image, caller)}
        assert seen == {caller}


CHANGES = [
    ("PATCH", "", b"[]", V2_1),
    ("DELETE", "", b"", ""),
    ("PUT", "/file", b"hello", OCTETS),
    ("PUT", "/stage", b"hello", OCTETS),
    ("PUT", "/tags/x", b"", ""),
    ("DELETE", "/tags/t", b"", ""),
    ("POST", "/members", b'{"member":"p2"}', "application/json"),
    ("POST", "/actions/deactivate", b"", ""),
    ("POST", "/actions/reactivate", b"", ""),
    ("POST", "/import", b"{}", "application/json"),
    ("POST", "/locations", b"{}", "application/json"),
]


@pytest.mark.asyncio
@pytest.mark.parametrize(("method", "path", "body", "media_type"), CHANGES)
async def test_another_etag_changes_nothing(
    service: Service, method: str, path: str, body: bytes, media_type: str
) -> None:
    """412 with the present ETag, and the image is as it was; an image that is not there is 404."""
    image_id = await service.create(tags=["t"])
    before = service.image(image_id)
    headers = {"if-match": '"5f3b"', "content-type": media_type}
    reply = await service.call(method, f"/v2/images/{image_id}{path}", body, headers=headers)
    etag = (await service.call("GET", f"/v2/images/{image_id}")).headers["etag"]
    assert (reply.status, reply.headers["etag"]) == (412, etag), reply.text
    assert etag in reply.json()["message"]
    assert service.image(image_id) == before
    missing = "/v2/images/00000000-0000-4000-8000-00000000dead"
    assert (await service.call(method, missing + path, body, headers=headers)).status == 404


FETCHED = b'{"url": "https://images.test/disk"}'
GLANCE_DIRECT = b'{"method": {"name": "glance-direct"}}'

#: What is changed, in which image, and what the call answers.
MADE = [
    ("PATCH", "", b"[]", V2_1, "queued", 200),
    ("DELETE", "", b"", "", "queued", 204),
    ("PUT", "/file", b"hello", OCTETS, "queued", 204),
    ("PUT", "/stage", b"hello", OCTETS, "queued", 204),
    ("PUT", "/tags/x", b"", "", "queued", 204),
    ("DELETE", "/tags/t", b"", "", "queued", 204),
    ("POST", "/actions/deactivate", b"", "", "active", 204),
    ("POST", "/actions/reactivate", b"", "", "active", 204),
    ("POST", "/import", GLANCE_DIRECT, "application/json", "staged", 202),
    ("POST", "/locations", FETCHED, "application/json", "queued", 202),
]


async def made(service: Service, state: str) -> str:
    """An image in this state; its id."""
    if state == "active":
        return await service.create_active(b"hello", tags=["t"])
    image_id = await service.create(tags=["t"])
    if state == "staged":
        headers = {"content-type": OCTETS}
        path = f"/v2/images/{image_id}/stage"
        assert (await service.call("PUT", path, b"hello", headers=headers)).status == 204
    return image_id


@pytest.mark.asyncio
@pytest.mark.parametrize("change", MADE, ids=lambda change: " ".join(change[:2]))
async def test_a_change_with_the_etag_of_the_record(
    service: Service, change: tuple[str, str, bytes, str, str, int]
) -> None:
    """It is made; and it is refused under the lock, if a change came between check and lock."""
    method, path, body, media_type, state, status = change
    image_id = await made(service, state)
    target = f"/v2/images/{image_id}"
    etag = (await service.call("GET", target)).headers["etag"]
    headers = {"if-match": etag, "content-type": media_type}
    modify = service.facts.modify_image

    async def modify_after_another(image_id: str, change: object) -> object:
        service.facts.modify_image = modify  # type: ignore[method-assign]
        await service.call("PUT", f"{target}/tags/meanwhile")
        return await modify(image_id, change)  # type: ignore[arg-type]

    service.facts.modify_image = modify_after_another  # type: ignore[assignment]
    late = await service.call(method, target + path, body, headers=headers)
    assert late.status == 412, late.text

    etag = (await service.call("GET", target)).headers["etag"]
    assert late.headers["etag"] == etag
    headers["if-match"] = etag
    reply = await service.call(method, target + path, body, headers=headers)
    assert reply.status == status, reply.text


@pytest.mark.asyncio
async def test_the_etag_of_every_answer_with_the_record(service: Service) -> None:
    """Creating, showing and changing answer with it; it changes with the record, not by reading."""
    created = await service.call("POST", "/v2/images", {"name": "a"})
    path = f"/v2/images/{created.json()['id']}"
    shown, head = await service.call("GET", path), await service.call("HEAD", path)
    assert created.headers["etag"] == shown.headers["etag"] == head.headers["etag"]
    rename = [{"op": "replace", "path": "/name", "value": "b"}]
    patched = await service.patch(created.json()["id"], rename)
    same = await service.patch(created.json()["id"], rename)
    assert patched.headers["etag"] == same.headers["etag"] != shown.headers["etag"]
    assert (await service.call("GET", path)).headers["etag"] == patched.headers["etag"]
    assert {reply.headers["cache-control"] for reply in (created, shown, patched)} == {
        "private, no-cache"
    }


@pytest.mark.asyncio
async def test_what_the_client_has_is_not_sent_again(service: Service) -> None:
    """304 has the ETag and no body; after a change the record is sent. Each caller has its own."""
    image_id = await service.create()
    path = f"/v2/images/{image_id}"
    etag = (await service.call("GET", path)).headers["etag"]
    for method in ("GET", "HEAD"):
        headers = {"if-none-match": f'"x", W/{etag}'}
        reply = await service.call(method, path, headers=headers)
        assert (reply.status, reply.headers["etag"], reply.body) == (304, etag, b"")
    as_root = await service.call("GET", path, headers={"if-none-match": etag}, caller="root")
    assert as_root.status == 200
    await service.call("PUT", f"{path}/tags/x")
    changed = await service.call("GET", path, headers={"if-none-match": etag})
    assert (changed.status, changed.json()["tags"]) == (200, ["x"])


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
    """Data has no ETag; what exists is not sent to those who ask for it only if it does not."""
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


#: Paths of resources without an ETag.
WITHOUT_ETAG: Mapping[str, str] = {"/v2/tasks/{task}": "DELETE", "/v2/images": "POST"}


@pytest.mark.asyncio
@pytest.mark.parametrize("path", WITHOUT_ETAG)
async def test_other_resources_have_no_etag(service: Service, path: str) -> None:
    """A condition with one is refused, and the sentence says why."""
    task = await service.ask_task("verify", image_id=await service.create_active())
    target, headers = path.format(task=task["id"]), {"if-match": '"a"'}
    reply = await service.call(WITHOUT_ETAG[path], target, b"{}", headers=headers)
    assert (reply.status, "has no ETag" in reply.text) == (412, True)
    assert "etag" not in reply.headers


@pytest.mark.asyncio
async def test_one_of_many_changes_of_a_state_is_made(service: Service) -> None:
    """32 clients change the version that they all have seen: one succeeds, 31 are told."""
    image_id = await service.create(number="0")
    for _ in range(3):
        etag = (await service.call("GET", f"/v2/images/{image_id}")).headers["etag"]
        headers = {"if-match": etag, "content-type": V2_1}
        changes = [
            service.call(
                "PATCH",
                f"/v2/images/{image_id}",
                [{"op": "replace", "path": "/number", "value": f"{client} {etag}"}],
                headers=headers,
            )
            for client in range(32)
        ]
        statuses = [reply.status for reply in await asyncio.gather(*changes)]
        assert sorted(statuses) == [200, *[412] * 31]
