"""Web pages of other origins: what a browser, by the Fetch standard, lets them do and read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import pytest
import pytest_asyncio

from imaged.api.cors import CorsSettings
from imaged.api.images import V2_1
from support.faults import catalog_fails, override_calls
from support.service import OCTETS, Reply, Service

pytestmark = pytest.mark.asyncio

HORIZON = "https://horizon.example.net"
OTHER = "https://evil.example.org"
CORS = CorsSettings((HORIZON, "http://127.0.0.1:8080"), timedelta(minutes=10))

#: Fetch, 2.2.2: headers of an answer that every page may read.
ALWAYS_READABLE = frozenset(
    {
        "cache-control",
        "content-language",
        "content-length",
        "content-type",
        "expires",
        "last-modified",
        "pragma",
    }
)


class Blocked(Exception):
    """The browser makes no request, or gives no answer to the page."""


@dataclass(frozen=True)
class Page:
    """A page in a browser, which does what the Fetch standard says (4.8, 4.9, 4.10)."""

    service: Service
    origin: str = HORIZON

    async def fetch(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Reply:
        """A request with a preflight, as all with a token are; what the page sees of the answer.

        Raises Blocked.
        """
        await self._preflight(method, path, headers)
        sent = {**headers, "origin": self.origin, "sec-fetch-site": "cross-site"}
        reply = await self.service.call(method, path, body, caller=None, headers=sent)
        return self._readable(reply)

    async def _preflight(self, method: str, path: str, headers: Mapping[str, str]) -> None:
        unsafe = sorted(name.lower() for name in headers if name.lower() != "accept")
        asked = {
            "origin": self.origin,
            "access-control-request-method": method,
            "access-control-request-headers": ",".join(unsafe),
        }
        reply = await self.service.call("OPTIONS", path, caller=None, headers=asked)
        self._check(reply)
        if not 200 <= reply.status <= 299:
            raise Blocked(reply.text)
        methods = listed(reply, "access-control-allow-methods")
        if method not in methods and method not in {"GET", "HEAD", "POST"}:
            raise Blocked(method)
        allowed = {name.lower() for name in listed(reply, "access-control-allow-headers")}
        if missing := set(unsafe) - allowed:
            raise Blocked(missing)

    def _check(self, reply: Reply) -> None:
        """The CORS check (4.10), of requests without credentials."""
        if reply.headers.get("access-control-allow-origin") not in {"*", self.origin}:
            raise Blocked(reply.headers)

    def _readable(self, reply: Reply) -> Reply:
        self._check(reply)
        exposed = {name.lower() for name in listed(reply, "access-control-expose-headers")}
        readable = exposed | ALWAYS_READABLE
        seen = {name: text for name, text in reply.headers.items() if name in readable}
        return Reply(reply.status, seen, reply.body)


def listed(reply: Reply, name: str) -> set[str]:
    """The elements of a header."""
    return {element.strip() for element in reply.headers.get(name, "").split(",")} - {""}


TOKEN = {"X-Auth-Token": "the token of alice"}
UPLOAD = {**TOKEN, "Content-Type": OCTETS}  # what Horizon sends with a file


@pytest_asyncio.fixture
async def shared() -> Service:
    """A service that pages of Horizon may call."""
    return Service(cors=CORS)


async def test_horizons_direct_upload(shared: Service) -> None:
    """Horizon's server makes the record, and its page sends the file with the user's token."""
    image_id = await shared.create()
    reply = await Page(shared).fetch("PUT", f"/v2/images/{image_id}/file", b"hello", UPLOAD)
    assert reply.status == 204
    assert "x-openstack-request-id" in reply.headers
    assert shared.image(image_id).status == "active"


async def test_a_page_reads_refusals(shared: Service) -> None:
    """Each has its status, sentence and request id: of a token, of data, of a path, of a bug."""
    image_id = await shared.create(disk_format="qcow2")
    page, file = Page(shared), f"/v2/images/{image_id}/file"
    broken = Page(Service(catalog=override_calls(shared.facts, get_image=catalog_fails), cors=CORS))
    unknown = {**UPLOAD, "X-Auth-Token": "unknown"}
    for reply, status in (
        (await page.fetch("PUT", file, b"hello", unknown), 401),
        (await page.fetch("PUT", file, b"hello", UPLOAD), 415),
        (await page.fetch("GET", "/v2/nothing", b"", TOKEN), 404),
        (await page.fetch("POST", file, b"", TOKEN), 405),
        (await broken.fetch("GET", f"/v2/images/{image_id}", b"", TOKEN), 503),
    ):
        assert reply.status == status
        assert reply.json()["message"]
        assert "x-openstack-request-id" in reply.headers


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_another_origin_is_blocked(shared: Service, method: str) -> None:
    """It gets no answer to its question, so the browser sends nothing; and no page reads without
    being allowed.
    """
    image_id = await shared.create()
    with pytest.raises(Blocked):
        await Page(shared, OTHER).fetch(method, f"/v2/images/{image_id}", b"", TOKEN)
    asked = {"origin": OTHER, **{name.lower(): text for name, text in TOKEN.items()}}
    reply = await shared.call("GET", f"/v2/images/{image_id}", headers=asked)
    assert "access-control-allow-origin" not in reply.headers
    assert "Origin" in reply.headers["vary"]


@pytest.mark.parametrize(
    "origin", ["https://horizon.example.net:8443", "http://horizon.example.net", "null", ""]
)
async def test_an_origin_is_compared_exactly(shared: Service, origin: str) -> None:
    """Another port or scheme is another site."""
    with pytest.raises(Blocked):
        await Page(shared, origin).fetch("GET", "/v2/images", b"", TOKEN)


async def test_without_the_setting_every_page_is_blocked(service: Service) -> None:
    """The question needs a token like any other request, and no browser sends one with it."""
    with pytest.raises(Blocked):
        await Page(service).fetch("GET", "/v2/images", b"", TOKEN)
    reply = await service.call("GET", "/v2/images", headers={"origin": HORIZON})
    assert "access-control-allow-origin" not in reply.headers


async def test_a_header_that_the_api_does_not_know_is_blocked(shared: Service) -> None:
    """Those that it knows are allowed, and those of its answers can be read."""
    known = ("If-Match", "If-None-Match", "Range", "X-Image-Meta-Store", "X-OpenStack-Image-Size")
    await Page(shared).fetch("GET", "/v2/images", b"", TOKEN | dict.fromkeys(known, "*"))
    with pytest.raises(Blocked):
        await Page(shared).fetch("GET", "/v2/images", b"", {**TOKEN, "X-Roles": "admin"})
    created = await Page(shared).fetch(
        "POST", "/v2/images", b"{}", {**TOKEN, "Content-Type": "application/json"}
    )
    for name in ("location", "etag", "openstack-image-store-ids"):
        assert name in created.headers
    patch = {**TOKEN, "Content-Type": V2_1, "If-Match": created.headers["etag"]}
    path = f"/v2/images/{created.json()['id']}"
    assert (await Page(shared).fetch("PATCH", path, b"[]", patch)).status == 200


async def test_the_question_is_remembered_as_long_as_configured(shared: Service) -> None:
    """In seconds; a private address may answer a public page."""
    asked = {
        "origin": HORIZON,
        "access-control-request-method": "PUT",
        "access-control-request-private-network": "true",
    }
    reply = await shared.call("OPTIONS", "/v2/images", caller=None, headers=asked)
    assert reply.status == 200
    assert reply.headers["access-control-max-age"] == "600"
    assert reply.headers["access-control-allow-private-network"] == "true"
    assert "access-control-allow-credentials" not in reply.headers


OPTIONS = [
    ("/v2/images", "GET, HEAD, POST, OPTIONS"),
    ("/v2/images/{image}", "GET, HEAD, PATCH, DELETE, OPTIONS"),
    ("/v2/images/{image}/file", "GET, HEAD, PUT, OPTIONS"),
    ("/v2/images/00000000-0000-4000-8000-00000000dead/stage", "PUT, OPTIONS"),
    ("/versions", "GET, HEAD, OPTIONS"),
]


@pytest.mark.parametrize(("path", "allowed"), OPTIONS)
async def test_options_tells_the_methods(service: Service, path: str, allowed: str) -> None:
    """204 with Allow, also to a reader, whatever the conditions; 401 without a token below /v2."""
    target = path.format(image=await service.create())
    headers = {"if-match": '"a"'}
    reply = await service.call("OPTIONS", target, caller="carol", headers=headers)
    assert (reply.status, reply.headers["allow"], reply.body) == (204, allowed, b"")
    without = await service.call("OPTIONS", target, caller=None)
    assert without.status == (401 if target.startswith("/v2") else 204)


async def test_options_of_an_unknown_path(service: Service) -> None:
    """There is nothing to tell."""
    assert (await service.call("OPTIONS", "/v2/nothing")).status == 404
