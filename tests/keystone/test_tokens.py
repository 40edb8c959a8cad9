"""The table of tokens, on a real Keystone: whose each is, or that it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from imaged.core.errors import KeystoneAccountRefused, TokenRefused
from imaged.core.identity import AccessRule
from imaged.core.secret import Secret
from imaged.keystone.session import KeystoneSession
from imaged.keystone.settings import ApplicationCredential, KeystoneSettings, PasswordAccount
from imaged.keystone.tokens import KeystoneTokens
from support.keystone import Keystone, User

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

RULE = {"service": "image", "method": "GET", "path": "/v2/images/**"}


def account_of(user: User, project: str) -> PasswordAccount:
    """The account of a user of the default domain."""
    return PasswordAccount(
        username=user.name,
        user_domain="Default",
        password=Secret(user.password),
        project=project,
        project_domain="Default",
    )


@asynccontextmanager
async def session_of(
    keystone: Keystone, account: PasswordAccount | ApplicationCredential
) -> AsyncIterator[KeystoneSession]:
    """A session with this account."""
    session = KeystoneSession(KeystoneSettings(urls=(keystone.url,), account=account, ca_file=None))
    try:
        yield session
    finally:
        await session.close()


@pytest_asyncio.fixture
async def session(keystone: Keystone) -> AsyncIterator[KeystoneSession]:
    """A session with the account of imaged."""
    async with session_of(keystone, account_of(keystone.service_user, "service")) as session:
        yield session


@pytest.fixture
def tokens(session: KeystoneSession) -> KeystoneTokens:
    """The driver."""
    return KeystoneTokens(session)


async def test_each_scope(keystone: Keystone, tokens: KeystoneTokens) -> None:
    """The project, the domain, the system, or nothing: then there are no roles."""
    user = keystone.create_person("member")
    keystone.grant("reader", user, domain="default")
    keystone.grant("admin", user, on_system=True)

    in_project = await tokens.validate(keystone.token(user))
    in_domain = await tokens.validate(keystone.token(user, domain="default"))
    in_system = await tokens.validate(keystone.token(user, on_system=True))
    unscoped = await tokens.validate(keystone.unscoped_token(user))

    assert in_project.user == in_domain.user == in_system.user == unscoped.user == user.id
    assert (in_project.project, in_project.project_domain) == (user.project, "default")
    assert in_project.roles == {"member", "reader"}
    assert (in_domain.project, in_domain.domain) == ("", "default")
    assert in_domain.roles == {"reader"}
    assert (in_system.project, in_system.is_system) == ("", True)
    assert "admin" in in_system.roles
    assert (unscoped.project, unscoped.domain, unscoped.is_system) == ("", "", False)
    assert unscoped.roles == frozenset()
    life = in_project.expires_at - in_project.issued_at
    assert timedelta(minutes=59) < life <= timedelta(hours=1)


async def test_tokens_of_trusts_and_credentials(keystone: Keystone, tokens: KeystoneTokens) -> None:
    """They act in the project of the user who gave them; rules come along."""
    trustor, trustee = keystone.create_person("member"), keystone.create_user()
    trust = keystone.create_trust(trustor, trustee, ["member"])
    restricted = keystone.create_credential(trustor, [RULE])
    plain = keystone.create_credential(trustor)

    by_trust = await tokens.validate(keystone.trust_token(trustee, trust))
    by_rules = await tokens.validate(keystone.credential_token(*restricted))
    by_credential = await tokens.validate(keystone.credential_token(*plain))

    assert (by_trust.user, by_trust.project) == (trustee.id, trustor.project)
    assert by_rules.access_rules == (AccessRule("image", "GET", "/v2/images/**"),)
    assert by_credential.access_rules is None
    assert by_credential.project == trustor.project


def _revoked(keystone: Keystone, user: User) -> str:
    token = keystone.token(user)
    keystone.revoke(token)
    return token


def _of_disabled_user(keystone: Keystone, user: User) -> str:
    token = keystone.token(user)
    keystone.change_user(user, enabled=False)
    return token


def _of_disabled_project(keystone: Keystone, user: User) -> str:
    token = keystone.token(user)
    keystone.change_project(user.project, enabled=False)
    return token


def _after_another_password(keystone: Keystone, user: User) -> str:
    token = keystone.token(user)
    keystone.change_user(user, password="made-up-another")
    return token


def _without_last_role(keystone: Keystone, user: User) -> str:
    token = keystone.token(user)
    keystone.take_back("member", user, project=user.project)
    return token


def _of_trustor_without_role(keystone: Keystone, user: User) -> str:
    trustee = keystone.create_user()
    token = keystone.trust_token(trustee, keystone.create_trust(user, trustee, ["member"]))
    keystone.take_back("member", user, project=user.project)
    return token


def _of_expired_credential(keystone: Keystone, user: User) -> str:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    token = ""
    credential = keystone.create_credential(user, expires_at=soon + timedelta(seconds=1))
    token = keystone.credential_token(*credential)
    while keystone.validate(token).status == 200:
        pass
    return token


def _forged(keystone: Keystone, user: User) -> str:
    token = keystone.token(user)
    return token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)


REFUSED: Mapping[str, Callable[[Keystone, User], str]] = {
    "revoked": _revoked,
    "disabled user": _of_disabled_user,
    "disabled project": _of_disabled_project,
    "another password": _after_another_password,
    "last role lost": _without_last_role,
    "trustor without role": _of_trustor_without_role,
    "forged": _forged,
    "expired": _of_expired_credential,
    "invented": lambda *_: "x" * 200,
}


@pytest.mark.parametrize("kind", REFUSED)
async def test_refused_tokens(keystone: Keystone, tokens: KeystoneTokens, kind: str) -> None:
    """Each is refused, and the account of imaged stays good."""
    token = REFUSED[kind](keystone, keystone.create_person("member"))

    with pytest.raises(TokenRefused):
        await tokens.validate(token)
    other = keystone.create_person()
    assert (await tokens.validate(keystone.token(other))).user == other.id


async def test_an_expired_token_for_a_service(keystone: Keystone, tokens: KeystoneTokens) -> None:
    """Is the same as before its end, if that is allowed; a revoked one is not."""
    user = keystone.create_person("member")
    expired, revoked = _of_expired_credential(keystone, user), _revoked(keystone, user)

    assert (await tokens.validate(expired, allow_expired=True)).user == user.id
    with pytest.raises(TokenRefused):
        await tokens.validate(revoked, allow_expired=True)


async def test_our_own_token_is_revoked(
    keystone: Keystone, session: KeystoneSession, tokens: KeystoneTokens
) -> None:
    """The session signs in once more, and its caller sees nothing of it."""
    user = keystone.create_person()
    token = keystone.token(user)
    keystone.revoke((await session.token()).text)

    assert (await tokens.validate(token)).user == user.id


async def test_an_application_credential_as_our_account(keystone: Keystone) -> None:
    """It needs no name and no project."""
    credential, secret = keystone.create_credential(keystone.service_user)
    account = ApplicationCredential(id=credential, secret=Secret(secret))

    async with session_of(keystone, account) as session:
        user = keystone.create_person()
        assert (await KeystoneTokens(session).validate(keystone.token(user))).user == user.id
        assert "service" in (await session.token()).identity.roles


@pytest.mark.parametrize(
    "mistake",
    [
        {"password": Secret("made-up-wrong")},
        {"username": "made-up-unknown"},
        {"project": "made-up-unknown"},
        {"user_domain": "default"},
    ],
)
async def test_an_account_that_cannot_sign_in(keystone: Keystone, mistake: dict[str, Any]) -> None:
    """Whatever is wrong, Keystone says the same; the names of domains are compared by case."""
    account = replace(account_of(keystone.service_user, "service"), **mistake)

    async with session_of(keystone, account) as session:
        with pytest.raises(KeystoneAccountRefused, match="sign in"):
            await session.token()


async def test_an_account_without_the_role(keystone: Keystone) -> None:
    """Its tokens are good, and it may not ask about others'."""
    user = keystone.create_person("member")
    project: str = keystone.told("GET", f"/projects/{user.project}")["project"]["name"]

    async with session_of(keystone, account_of(user, project)) as session:
        with pytest.raises(KeystoneAccountRefused, match="role service"):
            await KeystoneTokens(session).validate(keystone.token(keystone.create_person()))
