"""One exchange: its id, its lines in the log, and what is shown to which caller."""

from __future__ import annotations

import gzip
from collections.abc import MutableMapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from structlog.contextvars import get_contextvars, merge_contextvars
from structlog.testing import capture_logs

from imaged.api.middleware import RequestMiddleware
from imaged.api.resource import Links, Resource
from imaged.api.serialize import failure_text
from imaged.core.image import Failure
from imaged.testing.memory_store import MemoryStore
from support.faults import catalog_fails, override_calls, store_fails
from support.service import Service, ask

pytestmark = pytest.mark.asyncio

Line = MutableMapping[str, Any]
GLOBAL_ID = "req-11111111-2222-4333-8444-555555555555"


async def breaks(_: Request) -> Response:
    """Do what no handler should."""
    raise KeyError("a secret of ours")


def lines_of(lines: list[Line], event: str) -> list[Line]:
    """The lines of one event."""
    return [line for line in lines if line["event"] == event]


async def test_every_answer_has_an_id_of_its_own(service: Service) -> None:
    """Also errors do, and no two are the same."""
    replies = [await service.call("GET", path) for path in ("/", "/v2/images", "/v2/nope")]
    replies.append(await service.call("GET", "/v2/images", caller=None))
    ids = {reply.headers["x-openstack-request-id"] for reply in replies}
    assert len(ids) == 4
    assert all(request_id.startswith("req-") for request_id in ids)


async def test_finished_request_leaves_one_line(service: Service) -> None:
    """The line has the caller, the request, and its outcome."""
    image_id = await service.create()
    with capture_logs(processors=[merge_contextvars]) as lines:
        reply = await service.call(
            "GET", f"/v2/images/{image_id}", headers={"x-openstack-request-id": GLOBAL_ID}
        )
    (line,) = lines
    assert line["duration_s"] >= 0
    assert {**line, "duration_s": 0} == {
        "event": "request.finished",
        "log_level": "debug",
        "method": "GET",
        "path": f"/v2/images/{image_id}",
        "status": 200,
        "duration_s": 0,
        "request_id": reply.headers["x-openstack-request-id"],
        "global_request_id": GLOBAL_ID,
        "user_id": "alice",
        "project_id": "p1",
        "peer": "203.0.113.7",
        "image_id": image_id,
    }
    assert not get_contextvars()


@pytest.mark.parametrize(
    ("caller", "status", "error"),
    [(None, 401, "Unauthenticated"), ("carol", 403, "NotPermitted")],
)
async def test_a_refused_request_is_one_line(
    service: Service, caller: str | None, status: int, error: str
) -> None:
    """It says by which user and from where the request came."""
    path = f"/v2/images/{await service.create()}"
    with capture_logs(processors=[merge_contextvars]) as lines:
        reply = await service.call("DELETE", path, caller=caller)

    (line,) = lines_of(lines, "request.refused")
    assert reply.status == status
    assert (line["status"], line["method"], line["path"]) == (status, "DELETE", path)
    assert (line["error_type"], line.get("user_id"), line["peer"]) == (error, caller, "203.0.113.7")


@pytest.mark.parametrize("global_id", ["", "x" * 65, "a b", "a\nb", 'a"b', "ü"])
async def test_unfit_global_id_is_dropped(service: Service, global_id: str) -> None:
    """What is too long for a log, or could be mistaken for something else, is left out."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        await service.call("GET", "/", headers={"x-openstack-request-id": global_id})
    assert lines[0]["global_request_id"] is None


async def test_no_line_shows_a_token(service: Service) -> None:
    """Tokens, right or wrong, are in no line."""
    with capture_logs(processors=[merge_contextvars]) as lines:
        await service.create_active()
        await service.call("GET", "/v2/images", headers={"x-auth-token": "the token of no user?"})
    assert lines
    assert "the token of" not in str(lines)


async def test_upload_is_quiet(service: Service) -> None:
    """Requests are told at DEBUG: the INFO lines of an upload are the catalog's."""
    with capture_logs() as lines:
        await service.create_active()
    assert {line["log_level"] for line in lines} == {"debug"}


async def test_mistake_of_ours_is_one_error_line() -> None:
    """The client gets a plain sentence; the log has the id, the image and the traceback."""
    app = RequestMiddleware(Resource(GET=breaks))
    with capture_logs(processors=[merge_contextvars]) as lines:
        reply = await ask(app, "GET", "/", {}, [b""])
    assert reply.status == 500
    assert "secret" not in reply.text
    (line,) = [line for line in lines if line["log_level"] != "debug"]
    assert (line["event"], line["log_level"]) == ("request.failed", "error")
    assert line["request_id"] == reply.headers["x-openstack-request-id"]
    assert isinstance(line["exc_info"], KeyError)


@pytest.mark.parametrize("part", ["catalog", "store"])
async def test_failing_part_is_one_error_line(service: Service, part: str) -> None:
    """A catalog or a store that fails is 502 to an upload: after 503 clients would send its rest.
    The reason is for the log alone.
    """
    image_id = await service.create()
    failing = {
        "catalog": Service(catalog=override_calls(service.facts, modify_image=catalog_fails)),
        "store": Service(
            catalog=service.facts, store=override_calls(service.bytes, put=store_fails)
        ),
    }
    with capture_logs(processors=[merge_contextvars]) as lines:
        reply = await failing[part].put_data(image_id, b"hello")
    assert reply.status == 502
    assert "is down" not in reply.text
    (line,) = lines_of(lines, "request.failed")
    assert (line["log_level"], line["image_id"]) == ("error", image_id)
    assert line["exc_info"] is None


async def test_full_store_is_told_to_the_operator() -> None:
    """The client gets 413, like for its own mistakes; the operator is told where to look."""
    service = Service(store=MemoryStore("local", capacity_bytes=3))
    image_id = await service.create()
    with capture_logs(processors=[merge_contextvars]) as lines:
        reply = await service.put_data(image_id, b"hello")
    assert reply.status == 413
    (line,) = lines_of(lines, "request.failed")
    assert (line["log_level"], line["error_type"]) == ("error", "StoreFull")


async def test_only_http_is_served(service: Service) -> None:
    """Other protocols are refused before anything happens."""

    async def silent(*_: object) -> Any:
        raise AssertionError

    with pytest.raises(RuntimeError, match="websocket"):
        await service.app({"type": "websocket"}, silent, silent)


async def shown_to_each(service: Service, image_id: str) -> dict[str, dict[str, Any]]:
    """The image, as its owner's project, an administrator and a stranger see it."""
    return {
        person: (await service.call("GET", f"/v2/images/{image_id}", caller=person)).json()
        for person in ("alice", "carol", "root", "bob")
    }


@pytest.mark.parametrize("data", [b"", gzip.compress(b"a disk")], ids=["nothing", "packed"])
async def test_a_notice_is_shown_to_the_owner_alone(service: Service, data: bytes) -> None:
    """What the data looks like is the owner's business and the administrator's; others see none."""
    image_id = await service.create_active(data, visibility="community", protected=True)
    shown = await shown_to_each(service, image_id)

    said = "0 bytes were sent" if not data else "looks like a file compressed with gzip"
    for person in ("alice", "carol", "root"):
        assert said in shown[person]["imaged_notice"]
    assert "imaged_notice" not in shown["bob"]


async def test_a_notice_goes_with_the_data(service: Service) -> None:
    """A clone has it too; a disk has none."""
    source = await service.create_active(gzip.compress(b"a disk"))
    disk = await service.create_active(b"a disk")
    clone = (await service.do_task("clone", image_id=source))["result"]["image_id"]

    assert "gzip" in (await service.call("GET", f"/v2/images/{clone}")).json()["imaged_notice"]
    assert "imaged_notice" not in (await service.call("GET", f"/v2/images/{disk}")).json()


async def test_failure_is_shown_to_the_owner_alone(service: Service) -> None:
    """Only owner and administrators see why an upload failed."""
    image_id = await service.create(visibility="community", disk_format="qcow2")
    assert (await service.put_data(image_id, b"raw")).status == 415
    shown = await shown_to_each(service, image_id)
    for person in ("alice", "carol", "root"):
        when, phase, reason = shown[person]["imaged_last_failure"].split(" ", 2)
        assert (when[-1], phase) == ("Z", "upload:")
        assert "qcow2" in reason
    assert "imaged_last_failure" not in shown["bob"]
    await service.patch(image_id, [{"op": "add", "path": "/disk_format", "value": "raw"}])
    assert (await service.put_data(image_id, b"raw")).status == 204
    again = await service.call("GET", f"/v2/images/{image_id}")
    assert "imaged_last_failure" not in again.json()


@pytest.mark.parametrize(
    ("host", "public_url", "location"),
    [
        ("images.test:9292", "", "http://images.test:9292/v2/"),
        ("[::1]:9292", "", "http://[::1]:9292/v2/"),
        ("", "", "http://127.0.0.1:9292/v2/"),
        ("a b<c>", "", "http://127.0.0.1:9292/v2/"),
        ("inside", "https://images.example.net/", "https://images.example.net/v2/"),
    ],
)
async def test_links_begin_as_clients_know_us(host: str, public_url: str, location: str) -> None:
    """With ``public_url``, or else with what the client asked for."""
    service = Service(public_url=public_url)
    reply = await service.call("GET", "/v2", headers={"host": host})
    assert reply.headers["location"] == location


async def test_links_over_a_unix_socket() -> None:
    """Without a host and an address, links are still links."""
    request = Request({"type": "http", "scheme": "http", "headers": [], "server": ("/run/x", None)})
    assert Links("").absolute(request, "/v2/") == "http://localhost/v2/"


async def test_delay_may_be_reloaded(service: Service) -> None:
    """The next delete goes by the settings of its moment."""
    first, second = await service.create_active(), await service.create_active()
    await service.call("DELETE", f"/v2/images/{first}")
    service.images.settings = replace(service.images.settings, delay=timedelta(0))
    await service.call("DELETE", f"/v2/images/{second}")
    assert service.image(first).status == "pending_delete"
    assert service.image(second).status == "deleted"


async def test_failure_without_a_moment_is_its_reason() -> None:
    """A failure that is not stored yet has no moment."""
    assert failure_text(Failure("upload", "It broke.")) == "It broke."
