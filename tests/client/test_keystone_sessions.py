"""Sessions that sign in, with a Keystone and a service that answer as a test says."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from imaged.client.cloud_settings import read_settings
from imaged.client.errors import (
    AuthenticationFailed,
    ClientError,
    EndpointInvalid,
    KeystoneUnreachable,
    SignInRefused,
    TokenEnded,
    UnexpectedResponse,
)
from imaged.client.http_session import Endpoint, open_http_session
from imaged.client.image_api import ImageApi
from imaged.client.keystone import sign_in
from imaged.client.keystone_account import COMMAND_LINE
from support.certificates import make_certificate
from support.ports import reserve_port
from support.scripted_keystone import (
    Reply,
    ScriptedKeystone,
    broken_off,
    document,
    error,
    page,
    token_document,
)

pytestmark = pytest.mark.asyncio

PASSWORD = "made-up-password"
NOW = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S}.000000Z"


@dataclass
class Service:
    """A service without images, which takes some tokens."""

    takes: Callable[[str], bool] = lambda _: True
    shown: list[str] = field(default_factory=list)

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
        """Serve on a free port of the loopback; its address."""
        app = web.Application()
        app.router.add_get("/v2/images", self._list)
        app.router.add_put("/v2/images/{id}/file", self._list)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await runner.cleanup()

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self.shown.append(request.headers["X-Auth-Token"])
        if not self.takes(self.shown[-1]):
            return web.json_response({"message": "made up"}, status=401)
        return web.json_response({"images": []})


def settings(keystone_url: str, **more: Any) -> dict[str, Any]:
    """Of a cloud."""
    auth = {"auth_url": keystone_url, "username": "ann", "password": PASSWORD, "project_id": "p1"}
    return {"auth": auth, **more}


@asynccontextmanager
async def signed_in(
    service: Service, keystone: ScriptedKeystone, **more: Any
) -> AsyncIterator[ImageApi]:
    """A client of the service whose account is in Keystone."""
    async with service.running() as url, keystone.running():
        cloud = settings(keystone.url, image_endpoint_override=url, **more)
        async with open_http_session(read_settings(cloud, COMMAND_LINE)) as session:
            yield ImageApi(session)


async def test_one_sign_in_is_for_many_requests() -> None:
    """The token is kept as long as the session."""
    service, keystone = Service(), ScriptedKeystone()
    async with signed_in(service, keystone) as images:
        for _ in range(3):
            await images.list({}, 1)

    assert service.shown == ["own-1"] * 3
    assert len(keystone.logins) == 1


async def test_a_token_that_ends_is_renewed_once() -> None:
    """A 401 for a token that was taken before leads to one sign-in, and the request again."""
    service, keystone = Service(), ScriptedKeystone()
    async with signed_in(service, keystone) as images:
        await images.list({}, 1)
        service.takes = lambda token: token == "own-2"
        await images.list({}, 1)

    assert service.shown == ["own-1", "own-1", "own-2"]
    assert len(keystone.logins) == 2


async def test_a_new_token_that_is_refused_is_an_error() -> None:
    """No sign-in helps: the service asks another Keystone, perhaps."""
    service, keystone = Service(takes=lambda _: False), ScriptedKeystone()
    async with signed_in(service, keystone) as images:
        with pytest.raises(AuthenticationFailed, match="does not take the token of Keystone at"):
            await images.list({}, 1)

    assert service.shown == ["own-1"]


async def test_a_token_is_renewed_before_it_ends() -> None:
    """After half of its life, if that is short."""

    async def short(_: web.Request) -> web.StreamResponse:
        headers = {"X-Subject-Token": f"own-{len(keystone.logins)}"}
        body = token_document(issued_at=NOW, expires_at=NOW)
        return web.json_response(body, status=201, headers=headers)

    service, keystone = Service(), ScriptedKeystone(login=short)
    async with signed_in(service, keystone) as images:
        await images.list({}, 1)
        await images.list({}, 1)

    assert service.shown == ["own-1", "own-2"]


async def test_a_token_that_is_given_is_not_renewed() -> None:
    """What Keystone gives for it ends with it, so each request would sign in again."""

    async def short(_: web.Request) -> web.StreamResponse:
        body = token_document(issued_at=NOW, expires_at=NOW)
        return web.json_response(body, status=201, headers={"X-Subject-Token": "own"})

    service, keystone = Service(), ScriptedKeystone(login=short)
    async with service.running() as url, keystone.running():
        auth = {"auth_url": keystone.url, "token": "made-up", "project_id": "p1"}
        cloud = {"auth": auth, "image_endpoint_override": url}
        async with open_http_session(read_settings(cloud, COMMAND_LINE)) as session:
            await ImageApi(session).list({}, 1)
            await ImageApi(session).list({}, 1)

    assert (service.shown, len(keystone.logins)) == (["own", "own"], 1)


@pytest.mark.parametrize(("lives", "used"), [(3600, 3540), (120, 60), (90, 45)])
async def test_when_a_token_is_due_for_renewal(lives: int, used: int) -> None:
    """A minute before its end, or after half of its life: by Keystone's times, not by our clock."""
    issued_at = datetime(2026, 1, 1, tzinfo=UTC)
    told = token_document(
        issued_at=issued_at.isoformat(),
        expires_at=(issued_at + timedelta(seconds=lives)).isoformat(),
    )

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(told, status=201, headers={"X-Subject-Token": "own"})

    async with ScriptedKeystone(login=reply).running() as keystone:
        cloud = settings(keystone.url, image_endpoint_override="http://h")
        account = read_settings(cloud, COMMAND_LINE).account
        assert account is not None
        began = asyncio.get_running_loop().time()
        found = await sign_in(account, "http://h", None)
        ended = asyncio.get_running_loop().time()

    assert began + used <= found.renew_at <= ended + used


async def test_data_is_sent_again_by_its_sender() -> None:
    """The session cannot repeat a body; the next request has a new token."""
    service, keystone = Service(), ScriptedKeystone()

    async def body() -> AsyncIterator[bytes]:
        yield b"data"

    async with signed_in(service, keystone) as images:
        await images.list({}, 1)
        service.takes = lambda token: token == "own-2"
        with pytest.raises(TokenEnded):
            await images.send("1", body(), 4)
        await images.send("1", body(), 4)

    assert service.shown == ["own-1", "own-1", "own-2"]


async def redirect_to_itself(request: web.Request) -> web.StreamResponse:
    """With the status that asks for the same body again."""
    raise web.HTTPTemporaryRedirect(request.path)


async def test_a_password_follows_no_redirect() -> None:
    """Another server may be behind it; Keystone itself is asked once."""
    keystone = ScriptedKeystone(login=redirect_to_itself)
    async with signed_in(Service(), keystone) as images:
        with pytest.raises(UnexpectedResponse, match="not that of the Identity API v3"):
            await images.list({}, 1)

    assert len(keystone.logins) == 1


async def test_tokens_may_be_long() -> None:
    """Those with much in them do not fit into the usual 8 KiB; no representation has any."""
    token = "t" * 20_000

    async def reply(_: web.Request) -> web.StreamResponse:
        return web.json_response(token_document(), status=201, headers={"X-Subject-Token": token})

    async with ScriptedKeystone(login=reply).running() as keystone:
        account = read_settings(settings(keystone.url), COMMAND_LINE).account
        assert account is not None
        found = await sign_in(account, "http://h", None)
        assert found.token == token
        assert token not in repr(found) + repr(Endpoint("http://h", token=token))


REFUSALS: dict[str, tuple[Reply, type[ClientError], str, str]] = {
    "password": (
        error(401, PASSWORD), SignInRefused, "does not let the user ann sign in",
        "Check --password-file, and the names",
    ),
    "rule": (error(403), SignInRefused, r"refuses the sign-in of the user ann \(403\)", "settings"),
    "version": (error(404), UnexpectedResponse, "not that of the Identity API v3", "--auth-url"),
    "proxy": (page(404), UnexpectedResponse, "not that of the Identity API v3", "--auth-url"),
    "outage": (error(503), KeystoneUnreachable, r"cannot answer now \(503\)", "Try again later"),
    "limit": (error(429), KeystoneUnreachable, r"cannot answer now \(429\)", "Try again later"),
    "break": (broken_off, KeystoneUnreachable, "broke", "--auth-url"),
    "strange": (document({"token": {}}, 201), UnexpectedResponse, "not that of", "--auth-url"),
    "no token": (document(token_document(), 201), UnexpectedResponse, "not that of", "--auth-url"),
}  # fmt: skip


@pytest.mark.parametrize(("reply", "kind", "said", "remedy"), REFUSALS.values(), ids=REFUSALS)
async def test_refused_sign_ins_are_sentences(
    reply: Reply, kind: type[ClientError], said: str, remedy: str
) -> None:
    """They name Keystone, the account and the setting; not the password, nor Keystone's text."""
    service = Service()
    async with signed_in(service, ScriptedKeystone(login=reply)) as images:
        with pytest.raises(kind, match=said) as refused:
            await images.list({}, 1)

    assert remedy in refused.value.remedy
    assert PASSWORD not in str(refused.value) + refused.value.remedy
    assert not service.shown


async def test_a_second_factor_is_named() -> None:
    """Keystone gives a receipt for the first one."""

    async def more(_: web.Request) -> web.StreamResponse:
        body = {"error": {"code": 401, "message": "made up"}}
        return web.json_response(body, status=401, headers={"Openstack-Auth-Receipt": "made-up"})

    async with signed_in(Service(), ScriptedKeystone(login=more)) as images:
        with pytest.raises(SignInRefused, match="wants more than the password") as refused:
            await images.list({}, 1)

    assert "openstack token issue" in refused.value.remedy


async def test_a_token_without_a_project_is_refused() -> None:
    """It has no roles, and no catalog."""

    async def unscoped(_: web.Request) -> web.StreamResponse:
        body = token_document(project=None)
        return web.json_response(body, status=201, headers={"X-Subject-Token": "own"})

    async with signed_in(Service(), ScriptedKeystone(login=unscoped)) as images:
        with pytest.raises(SignInRefused, match="a token without a project") as refused:
            await images.list({}, 1)

    assert "Set --project-name" in refused.value.remedy


async def test_keystone_away() -> None:
    """The error names Keystone, not the service."""
    cloud = settings(f"http://127.0.0.1:{reserve_port()}", image_endpoint_override="http://h")
    async with open_http_session(read_settings(cloud, COMMAND_LINE)) as session:
        with pytest.raises(KeystoneUnreachable, match=r"Keystone at 127.*: Connection refused"):
            await ImageApi(session).list({}, 1)


async def test_certificates_are_for_keystone_too(tmp_path: Path) -> None:
    """And for the service. Those of the system know neither; those that are named do."""
    file = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    service, keystone = Service(), ScriptedKeystone()
    async with service.running(context) as url, keystone.running(context):
        cloud = settings(keystone.url, image_endpoint_override=url)
        async with open_http_session(read_settings(cloud, COMMAND_LINE)) as session:
            with pytest.raises(EndpointInvalid, match="certificate of Keystone at 127"):
                await ImageApi(session).list({}, 1)
        trusting = read_settings({**cloud, "cacert": str(file)}, COMMAND_LINE)
        async with open_http_session(trusting) as session:
            await ImageApi(session).list({}, 1)

    assert service.shown == ["own-1"]


async def test_the_socket_of_a_service(tmp_path: Path) -> None:
    """Keystone is asked by TCP all the same."""
    shown: list[str] = []

    async def listing(request: web.Request) -> web.StreamResponse:
        shown.append(request.headers["X-Auth-Token"])
        return web.json_response({"images": []})

    app = web.Application()
    app.router.add_get("/v2/images", listing)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "s")).start()
    async with ScriptedKeystone().running() as keystone:
        cloud = settings(keystone.url, image_endpoint_override=f"unix:{tmp_path}/s")
        async with open_http_session(read_settings(cloud, COMMAND_LINE)) as session:
            await ImageApi(session).list({}, 1)
    await runner.cleanup()

    assert shown == ["own-1"]
