"""A Keystone that misbehaves: what is a refusal of the token, and what an outage."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from imaged.core.errors import (
    ImagedError,
    KeystoneAccountRefused,
    KeystoneSettingsUnusable,
    KeystoneSilent,
    KeystoneUnavailable,
    TokenRefused,
)
from imaged.core.secret import Secret
from imaged.keystone.session import KeystoneSession
from imaged.keystone.settings import ApplicationCredential, KeystoneSettings
from imaged.keystone.tokens import KeystoneTokens
from support.scripted_keystone import (
    Reply,
    ScriptedKeystone,
    broken_off,
    document,
    error,
    good,
    page,
    token_document,
)
from support.waiting import SHORT_PAUSES

pytestmark = pytest.mark.asyncio

SOON = timedelta(seconds=0.3)
PATIENT = timedelta(seconds=20)
CANARY = "canary-of-a-token"
NOWHERE = "http://127.0.0.1:1"
RULE = "You are not authorized to perform the requested action: identity:validate_token."
LOST = "You are not authorized to perform the requested action."

#: What Keystone answers twice to a validation, and what it means.
MEANINGS: Sequence[tuple[str, Reply, type[ImagedError]]] = [
    ("not found", error(404, f"Could not find {CANARY}"), TokenRefused),
    ("a trust whose trustor lost the role", error(403, LOST), TokenRefused),
    ("our account lacks the right", error(403, RULE), KeystoneAccountRefused),
    ("a page of a wrong address", page(404), KeystoneUnavailable),
    ("a page of a proxy", page(403), KeystoneUnavailable),
    ("another error's document", document({"error": {"code": 500}}, 404), KeystoneUnavailable),
    ("an error of a framework", document({"message": "not allowed"}, 405), KeystoneUnavailable),
    ("our token is never good", error(401), KeystoneUnavailable),
    ("a fault", error(500, CANARY), KeystoneUnavailable),
    ("a proxy without Keystone", page(502), KeystoneUnavailable),
    ("too many requests", error(429), KeystoneUnavailable),
    ("a redirect", page(302), KeystoneUnavailable),
    ("nothing", document({}), KeystoneUnavailable),
    ("a token without a user", document({"token": {}}), KeystoneUnavailable),
    ("a list", document([]), KeystoneUnavailable),
    ("a page instead", page(200), KeystoneUnavailable),
    ("no content", document({}, 204), KeystoneUnavailable),
    ("an endless document", document(["x" * 2_000_000]), KeystoneUnavailable),
    ("no answer", broken_off, KeystoneUnavailable),
]


def settings(*urls: str, **changes: Any) -> KeystoneSettings:
    """A made-up account, and short pauses."""
    account = ApplicationCredential(id="made-up", secret=Secret("made-up-secret"))
    given = KeystoneSettings(urls=urls, account=account, ca_file=None)
    return replace(given, rounds=replace(SHORT_PAUSES, attempts=2), **changes)


@asynccontextmanager
async def tokens_of(*urls: str, **changes: Any) -> AsyncIterator[KeystoneTokens]:
    """The driver with these endpoints."""
    session = KeystoneSession(settings(*urls, **changes))
    try:
        yield KeystoneTokens(session)
    finally:
        await session.close()


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context with a certificate of its own authority, and the file of that."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made up")])
    host = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
        .add_extension(host, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file, key_file = tmp_path / "ca.pem", tmp_path / "key.pem"
    file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file, key_file)
    return context, file


@pytest.mark.parametrize(
    ("reply", "meaning"), [one[1:] for one in MEANINGS], ids=[one[0] for one in MEANINGS]
)
async def test_what_an_answer_means(reply: Reply, meaning: type[ImagedError]) -> None:
    """A refusal is Keystone's own; everything else is no fault of the caller. No text of it is
    repeated, because it may contain the token.
    """
    async with ScriptedKeystone([reply]).running() as keystone, tokens_of(keystone.url) as tokens:
        with pytest.raises(ImagedError) as caught:
            await tokens.validate("made-up")

    assert type(caught.value) is meaning
    assert CANARY not in str(caught.value)
    assert CANARY not in caught.value.for_clients


async def test_what_is_asked() -> None:
    """With access rules and without the catalog; about an expired token only on request."""
    async with ScriptedKeystone().running() as keystone, tokens_of(keystone.url) as tokens:
        await tokens.validate("first")
        await tokens.validate("second", allow_expired=True)

    first, second = keystone.validations
    assert first.headers["X-Subject-Token"] == "first"
    assert first.headers["OpenStack-Identity-Access-Rules"] == "1.0"
    assert (dict(first.query), dict(second.query)) == (
        {"nocatalog": "1"},
        {"nocatalog": "1", "allow_expired": "1"},
    )
    assert keystone.shown_tokens == ["own-1", "own-1"]
    assert len(keystone.logins) == 1


async def test_our_token_is_renewed_when_it_is_refused() -> None:
    """By one more login, and the same question."""
    replies = [error(401), good, error(401), good]
    async with ScriptedKeystone(replies).running() as keystone, tokens_of(keystone.url) as tokens:
        await tokens.validate("one")
        await tokens.validate("two")

    assert keystone.shown_tokens == ["own-1", "own-2", "own-2", "own-3"]


async def test_many_questions_sign_in_once() -> None:
    """They wait for the same login."""
    async with ScriptedKeystone().running() as keystone, tokens_of(keystone.url) as tokens:
        await asyncio.gather(*(tokens.validate(f"token-{number}") for number in range(8)))

    assert len(keystone.logins) == 1


async def test_our_token_is_renewed_before_its_end() -> None:
    """Whatever the clock of this machine says."""
    ended = token_document(
        issued_at="2020-01-01T00:00:00.000000Z", expires_at="2020-01-01T00:00:00.000000Z"
    )

    async def brief(_: web.Request) -> web.StreamResponse:
        return web.json_response(ended, status=201, headers={"X-Subject-Token": "brief"})

    async with (
        ScriptedKeystone(login=brief).running() as keystone,
        tokens_of(keystone.url) as tokens,
    ):
        await tokens.validate("one")
        await tokens.validate("two")

    assert len(keystone.logins) == 2


async def test_a_refused_account_does_not_try_again_at_once() -> None:
    """Or Keystone may lock it; after a reload with another secret it does."""
    async with ScriptedKeystone(login=error(401)).running() as keystone:
        session = KeystoneSession(settings(keystone.url))
        tokens = KeystoneTokens(session)
        for _ in range(3):
            with pytest.raises(KeystoneAccountRefused, match="sign in"):
                await tokens.validate("made-up")
        assert len(keystone.logins) == 1

        session.apply(settings(keystone.url))
        with pytest.raises(KeystoneAccountRefused):
            await tokens.validate("made-up")
        assert len(keystone.logins) == 1

        other = ApplicationCredential(id="made-up", secret=Secret("another"))
        session.apply(settings(keystone.url, account=other))
        with pytest.raises(KeystoneAccountRefused):
            await tokens.validate("made-up")
        await session.close()

    (_, last) = keystone.logins
    assert last["auth"]["identity"]["application_credential"]["secret"] == "another"


@pytest.mark.parametrize("reply", [page(404), error(500), broken_off])
async def test_the_next_endpoint_is_asked(reply: Reply) -> None:
    """After one that cannot be connected to, and after one that gives no usable answer; the one
    that answered is asked first from then on.
    """
    async with (
        ScriptedKeystone([reply], login=reply).running() as first,
        ScriptedKeystone().running() as second,
        tokens_of(NOWHERE, first.url, second.url) as tokens,
    ):
        assert (await tokens.validate("one")).user == "ann"
        asked = len(first.logins) + len(first.validations)
        assert (await tokens.validate("two")).user == "ann"
        assert len(first.logins) + len(first.validations) == asked


async def test_a_refusal_is_final() -> None:
    """The next endpoint is not asked whether it knows better."""
    async with (
        ScriptedKeystone([error(404)]).running() as first,
        ScriptedKeystone().running() as second,
        tokens_of(first.url, second.url) as tokens,
    ):
        with pytest.raises(TokenRefused):
            await tokens.validate("made-up")

    assert not second.validations


async def test_one_failure_is_tried_again() -> None:
    """A Keystone that answers at the second try answers."""
    replies = [error(503), good]
    async with ScriptedKeystone(replies).running() as keystone, tokens_of(keystone.url) as tokens:
        assert (await tokens.validate("made-up")).user == "ann"


async def test_a_silent_keystone_is_left_at_a_deadline() -> None:
    """Of one endpoint, and of all together."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connects, and is never answered
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        for limits in (
            {"answer_timeout": SOON, "total_time": PATIENT},
            {"answer_timeout": PATIENT, "total_time": SOON},
        ):
            async with tokens_of(url, **limits) as tokens:
                with pytest.raises(KeystoneSilent, match="did not answer in time"):
                    await tokens.validate("made-up")


async def test_nothing_listens() -> None:
    """Each endpoint is named."""
    async with tokens_of(NOWHERE, "http://127.0.0.2:1") as tokens:
        with pytest.raises(KeystoneSilent, match=r"at 127\.0\.0\.1:1 .*; at 127\.0\.0\.2:1 "):
            await tokens.validate("made-up")


@pytest.mark.parametrize("trusts", [True, False])
async def test_tls(tls: tuple[ssl.SSLContext, Path], *, trusts: bool) -> None:
    """Certificates are verified, by ca_file if there is one."""
    context, ca_file = tls
    async with (
        ScriptedKeystone().running(context) as keystone,
        tokens_of(keystone.url, ca_file=ca_file if trusts else None) as tokens,
    ):
        if trusts:
            assert (await tokens.validate("made-up")).user == "ann"
        else:
            with pytest.raises(
                KeystoneUnavailable, match=r"not trusted: check auth\.keystone\.ca_file"
            ):
                await tokens.validate("made-up")


async def test_certificates_that_cannot_be_read(tmp_path: Path) -> None:
    """The setting and the file are named, at the start."""
    (tmp_path / "empty.pem").touch()
    for name in ("missing.pem", "empty.pem"):
        with pytest.raises(KeystoneSettingsUnusable, match=rf"{name} \(auth\.keystone\.ca_file\)"):
            KeystoneSession(settings(NOWHERE, ca_file=tmp_path / name))
