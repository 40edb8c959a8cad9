"""``/metrics``: with a token at the API's addresses, and at addresses of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.app import build_metrics_app
from imaged.api.authenticator import MIN_TOKEN_LENGTH, BearerToken, TokenFileInvalid
from imaged.api.monitoring import MetricsHandler
from support.service import Reply, Service, ask

pytestmark = pytest.mark.asyncio

MEDIA_TYPE = "text/plain; version=0.0.4"
TOKEN = "the-token-of-prometheus"
SHOWN = {"authorization": f"Bearer {TOKEN}"}
LOCAL = {"host": "127.0.0.1:9292"}


async def write(accept: str) -> tuple[bytes, str]:
    """A page that says what was asked for."""
    return f"accept {accept}".encode(), MEDIA_TYPE


@pytest.fixture
def token(tmp_path: Path) -> BearerToken:
    """The token that the daemon knows."""
    path = tmp_path / "metrics.token"
    path.write_text(f"{TOKEN}\n")
    return BearerToken(path)


@pytest.fixture
def service(token: BearerToken) -> Service:
    """The API with metrics."""
    return Service(metrics=MetricsHandler(write, token))


async def get(service: Service, **headers: str) -> Reply:
    """Ask for the page at the API."""
    return await ask(service.app, "GET", "/metrics", {**LOCAL, **headers}, [b""])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_token_is_shown(service: Service, scheme: str) -> None:
    """The page comes in the format that is asked for, through a proxy too."""
    shown = {"authorization": f"{scheme} {TOKEN}", "x-forwarded-for": "192.0.2.7"}
    reply = await get(service, accept="this", **shown)

    assert (reply.status, reply.text) == (200, "accept this")
    assert reply.headers["content-type"] == MEDIA_TYPE
    assert reply.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "headers",
    [{}, {"authorization": "Bearer"}, {"authorization": f"Bearer {TOKEN}s"},
     {"authorization": f"Basic {TOKEN}"}, {"authorization": "Bearer é" + TOKEN},
     {"x-auth-token": TOKEN}],
)  # fmt: skip
async def test_without_the_token(service: Service, headers: dict[str, str]) -> None:
    """The API refuses it, wherever the request seems to come from."""
    reply = await get(service, accept="application/json", **headers)

    assert (reply.status, reply.headers["www-authenticate"].partition(" ")[0]) == (401, "Bearer")
    assert "metrics.token_file" in json.loads(reply.body)["message"]


async def test_the_api_has_no_page_without_a_token() -> None:
    """Not even to this machine: a proxy on it looks the same."""
    reply = await get(Service(metrics=MetricsHandler(write)), **SHOWN)

    assert reply.status == 401


async def test_without_metrics_the_path_is_like_any_other() -> None:
    """There is nothing, as at any path outside the API."""
    assert (await get(Service(), **SHOWN)).status == 404


async def test_other_methods(service: Service) -> None:
    """Nothing can be written."""
    reply = await service.call("POST", "/metrics")

    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/metrics", 200), ("HEAD", "/metrics", 200), ("POST", "/metrics", 405),
     ("GET", "/v2/images", 404)],
)  # fmt: skip
async def test_addresses_of_their_own(method: str, path: str, status: int) -> None:
    """Every client is answered there, and only with metrics."""
    app = build_metrics_app(MetricsHandler(write))
    reply = await ask(app, method, path, {"host": "images.test", "via": "1.1 proxy"}, [b""])

    assert reply.status == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (LOCAL, 200),
        ({"host": "evil.test:9293"}, 421),
        ({**LOCAL, "origin": "http://evil.test"}, 403),
    ],
)
async def test_no_page_of_the_web_reads_them(headers: dict[str, str], status: int) -> None:
    """An address that only this machine reaches is reached by its browsers, too."""
    app = build_metrics_app(MetricsHandler(write, names=AllowedHosts()))

    assert (await ask(app, "GET", "/metrics", headers, [b""])).status == status


async def test_a_token_for_addresses_of_their_own(token: BearerToken) -> None:
    """Where there is one, it is asked for everywhere."""
    app = build_metrics_app(MetricsHandler(write, token))
    for headers, status in ((LOCAL, 401), ({**LOCAL, **SHOWN}, 200)):
        assert (await ask(app, "GET", "/metrics", headers, [b""])).status == status


@pytest.mark.parametrize(
    "text", ["", "\n", "a" * (MIN_TOKEN_LENGTH - 1), "a token and one more", "é" * 20]
)
async def test_a_file_that_holds_no_token(tmp_path: Path, token: BearerToken, text: str) -> None:
    """It is refused, and a reload leaves what was known."""
    path = tmp_path / "other"
    path.write_text(text)
    with pytest.raises(TokenFileInvalid, match="other"):
        BearerToken(path)
    with pytest.raises(TokenFileInvalid):
        token.reload(path)
    assert (await get(Service(metrics=MetricsHandler(write, token)), **SHOWN)).status == 200
