"""Callers with tokens of Keystone: their scope, their rules, and services that act for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
from starlette.datastructures import Headers

from imaged.api.http_errors import Unauthenticated, error_response
from imaged.api.keystone_authenticator import KeystoneAuthenticator
from imaged.core.access import Caller
from imaged.core.errors import KeystoneUnavailable, TokenRefused
from imaged.core.identity import AccessRule, Identity
from imaged.core.token_cache import TokenCache
from imaged.services.token_validation import TokenValidator

pytestmark = pytest.mark.asyncio

URI = "https://keystone.example.net:5000"
NOW = datetime.now(UTC)


def identity(
    user: str, *roles: str, rules: Sequence[AccessRule] | None = None, **scope: str
) -> Identity:
    """Whose token it is."""
    return Identity(
        user=user,
        user_domain="default",
        roles=frozenset(roles),
        issued_at=NOW,
        expires_at=NOW + timedelta(hours=1),
        access_rules=rules,
        **scope,  # type: ignore[arg-type]  # texts alone
    )


LIST = AccessRule("image", "GET", "/v2/images")
KNOWN: Mapping[str, Identity] = {
    "ann": identity("ann", "member", project="p1", project_domain="d2"),
    "restricted": identity("ann", "member", project="p1", rules=[LIST]),
    "expired": identity("ann", "member", project="p1"),
    "restricted-expired": identity("ann", "member", project="p1", rules=[]),
    "nova": identity("nova", "service", project="s"),
    "nova-restricted": identity("nova", "service", project="s", rules=[LIST]),
    "bob": identity("bob", "member", project="p2"),
}


@dataclass
class KnownTokens:
    """Knows tokens by their text; those with "expired" in it only if that is allowed."""

    asked: list[str] = field(default_factory=list)

    async def validate(self, token: str, *, allow_expired: bool = False) -> Identity:
        """Say who it is."""
        self.asked.append(token)
        if token == "away":
            raise KeystoneUnavailable("is made up")
        if token not in KNOWN or ("expired" in token and not allow_expired):
            raise TokenRefused
        return KNOWN[token]


@pytest.fixture
def authenticator() -> KeystoneAuthenticator:
    """Without Keystone."""
    return KeystoneAuthenticator(
        TokenValidator(KnownTokens(), TokenCache(timedelta(seconds=60))), URI
    )


async def call(
    authenticator: KeystoneAuthenticator,
    *tokens: str,
    method: str = "GET",
    path: str = "/v2/images",
) -> Caller:
    """Authenticate a request with the token of a user, and that of a service."""
    names = ("X-Auth-Token", "X-Service-Token")
    headers = Headers(dict(zip(names, tokens, strict=False)))
    return await authenticator.authenticate(headers, method, path)


async def test_a_caller_has_the_scope_of_the_token(authenticator: KeystoneAuthenticator) -> None:
    """Its project, its domains and its roles."""
    assert await call(authenticator, "ann") == Caller(
        "ann", "p1", frozenset({"member"}), user_domain="default", project_domain="d2"
    )


@pytest.mark.parametrize(
    ("tokens", "user"),
    [
        ((), None),
        (("",), None),
        (("unknown",), None),
        (("expired",), None),
        (("expired", "nova"), "ann"),
        (("restricted-expired", "nova"), "ann"),
        (("ann", "nova"), "ann"),
        (("ann", "bob"), None),
        (("expired", "bob"), None),
        (("ann", "unknown"), None),
        (("unknown", "nova"), None),
        (("ann", "expired"), None),
        (("", "nova"), None),
        (("ann", "ann"), None),
    ],
)
async def test_tokens_of_users_and_services(
    authenticator: KeystoneAuthenticator, tokens: Sequence[str], user: str | None
) -> None:
    """A token of a service must be good and have the role; it makes no other caller."""
    if user is not None:
        assert (await call(authenticator, *tokens)).user == user
        return
    with pytest.raises(Unauthenticated) as caught:
        await call(authenticator, *tokens)
    answer = error_response(caught.value, "")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'Keystone uri="{URI}"'


@pytest.mark.parametrize(
    ("tokens", "method", "path", "allowed"),
    [
        (("restricted",), "GET", "/v2/images", True),
        (("restricted",), "POST", "/v2/images", False),
        (("restricted",), "GET", "/v2/images/1", False),
        (("restricted", "nova"), "POST", "/v2/images", True),
        (("ann", "nova-restricted"), "GET", "/v2/images", True),
        (("ann", "nova-restricted"), "POST", "/v2/images", False),
    ],
)
async def test_access_rules(
    authenticator: KeystoneAuthenticator,
    tokens: Sequence[str],
    method: str,
    path: str,
    *,
    allowed: bool,
) -> None:
    """Those of the caller are about its own calls, and not about those of services for it."""
    if allowed:
        assert (await call(authenticator, *tokens, method=method, path=path)).user == "ann"
        return
    with pytest.raises(Unauthenticated):
        await call(authenticator, *tokens, method=method, path=path)


async def test_an_outage_is_no_refusal(authenticator: KeystoneAuthenticator) -> None:
    """The answer says when to try again, and nothing of the cause."""
    with pytest.raises(KeystoneUnavailable) as caught:
        await call(authenticator, "away")

    answer = error_response(caught.value, "")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert b"made up" not in answer.body
