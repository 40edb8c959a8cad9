"""``/metrics`` on the API's own addresses: for this machine, and for nobody behind a proxy."""

from __future__ import annotations

import json

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from imaged.api.app import build_metrics_app
from imaged.api.metrics import Metrics, is_local
from support.service import Reply, Service, ask

pytestmark = pytest.mark.asyncio

MEDIA_TYPE = "text/plain; version=0.0.4"


async def write(accept: str) -> tuple[bytes, str]:
    """A page that says what was asked for."""
    return f"accept {accept}".encode(), MEDIA_TYPE


@pytest.fixture
def service() -> Service:
    """The API with metrics."""
    return Service(metrics=Metrics(write))


def seen_from(app: ASGIApp, client: tuple[str, int] | None) -> ASGIApp:
    """The application, as a server shows it somebody."""

    async def shown(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": client}, receive, send)

    return shown


async def get(service: Service, client: tuple[str, int] | None, **headers: str) -> Reply:
    """Ask for the page from somewhere; nobody shows a token."""
    sent = {"host": "images.test", **headers}
    return await ask(seen_from(service.app, client), "GET", "/metrics", sent, [b""])


@pytest.mark.parametrize(
    "client", [None, ("127.0.0.1", 5), ("127.3.2.1", 5), ("::1", 5), ("::ffff:127.0.0.1", 5)]
)
async def test_this_machine_is_answered(service: Service, client: tuple[str, int] | None) -> None:
    """By loopback or a unix socket, in the format that it asks for."""
    reply = await get(service, client, accept="this")

    assert (reply.status, reply.text) == (200, "accept this")
    assert reply.headers["content-type"] == MEDIA_TYPE
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "client", [("10.0.0.1", 5), ("192.0.2.7", 5), ("2001:db8::1", 5), ("::ffff:10.0.0.1", 5)]
)
async def test_others_are_not(service: Service, client: tuple[str, int]) -> None:
    """They are told which setting decides."""
    reply = await get(service, client, accept="application/json")

    assert reply.status == 403
    assert "metrics.bind" in json.loads(reply.body)["message"]


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
async def test_nobody_is_answered_through_a_proxy(service: Service, header: str) -> None:
    """Also if the proxy is on this machine, whatever it says."""
    reply = await get(service, ("127.0.0.1", 5), **{header: "127.0.0.1"})

    assert reply.status == 403


async def test_a_peer_that_is_no_address_is_not_local() -> None:
    """Who cannot be known is a stranger."""
    assert not is_local({"type": "http", "headers": [], "client": ("testclient", 5)})


async def test_without_metrics_the_path_is_like_any_other() -> None:
    """It offers the versions of the API."""
    reply = await get(Service(), ("127.0.0.1", 5))

    assert reply.status == 300


async def test_other_methods(service: Service) -> None:
    """Nothing can be written."""
    reply = await service.call("POST", "/metrics")

    assert (reply.status, reply.headers["allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("POST", "/metrics", 405), ("GET", "/v2/images", 404)],
)
async def test_addresses_of_their_own(method: str, path: str, status: int) -> None:
    """Everybody is answered there, and nothing else is."""
    app = seen_from(build_metrics_app(Metrics(write)), ("192.0.2.7", 5))
    reply = await ask(app, method, path, {"host": "images.test", "via": "1.1 proxy"}, [b""])

    assert reply.status == status
