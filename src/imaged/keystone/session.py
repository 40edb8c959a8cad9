"""Requests to Keystone as imaged's own account, which signs in when it has to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from imaged.core.errors import KeystoneAccountRefused, KeystoneUnavailable
from imaged.core.identity import Identity, TokenDocumentInvalid, parse_identity
from imaged.keystone.endpoints import Answer, Endpoints
from imaged.keystone.settings import KeystoneSettings
from imaged.ports.meter import Meter, Timing, ignore_measurement

TOKENS_PATH = "/auth/tokens"
WITHOUT_CATALOG = {"nocatalog": "1"}
RENEWED_BEFORE = timedelta(seconds=60)  # the end of our token; at most half of its life
ATTEMPTS_WITH_TOKENS = 2  # with the one that there is, and with a new one
CREATED = 201
UNAUTHORIZED = 401


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class OwnToken:
    """The token of imaged's account. ``renew_at``: of the event loop's clock."""

    text: str
    identity: Identity
    renew_at: float


class KeystoneSession:
    """Keeps the token of one account. Raises KeystoneSettingsUnusable."""

    def __init__(self, settings: KeystoneSettings, meter: Meter = ignore_measurement) -> None:
        self._settings = settings
        self._endpoints = Endpoints(settings)
        self._meter = meter
        self._token: OwnToken | None = None
        self._login = asyncio.Lock()
        self._refusals = 0  # of logins, in a row
        self._refused_until = 0.0  # of the event loop's clock

    async def get(
        self,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        operation: str = "read",
        read: Callable[[Answer], T],
    ) -> T:
        """What ``read`` makes of the answer, which may be an error of Keystone.

        ``operation``: one of KEYSTONE_OPERATIONS, for the meter.

        Raises KeystoneUnavailable, KeystoneAccountRefused, and what ``read`` raises.
        """
        with Timing(self._meter, operation) as timing:
            for _ in range(ATTEMPTS_WITH_TOKENS):
                began = _now()
                token = await self.token()
                timing.waited_seconds += _now() - began  # signing in is told by itself
                shown = {**(headers or {}), "X-Auth-Token": token.text}
                answer = await self._endpoints.send("GET", path, query=query, headers=shown)
                if answer.status != UNAUTHORIZED:
                    return read(answer)
                if self._token is token:
                    self._token = None
            raise KeystoneUnavailable("refuses the token that it has just given to imaged")

    async def token(self) -> OwnToken:
        """Our token, which is valid for a while. Raises KeystoneUnavailable,
        KeystoneAccountRefused.
        """
        async with self._login:
            if self._token is None or _now() >= self._token.renew_at:
                with Timing(self._meter, "login"):
                    self._token = await self._sign_in()
            return self._token

    def apply(self, settings: KeystoneSettings) -> None:
        """Use other secrets from now on."""
        if settings.account != self._settings.account:
            self._token, self._refused_until = None, 0.0
        self._settings = settings

    async def close(self) -> None:
        """Close the connections."""
        await self._endpoints.close()

    async def _sign_in(self) -> OwnToken:
        if _now() < self._refused_until:
            raise KeystoneAccountRefused(_REFUSED)
        account = self._settings.account
        answer = await self._endpoints.send(
            "POST", TOKENS_PATH, query=WITHOUT_CATALOG, document=account.login_document()
        )
        text = answer.headers.get("X-Subject-Token", "")
        if answer.status == UNAUTHORIZED:
            self._refusals += 1
            pause = self._settings.refused_logins.pause(self._refusals)
            self._refused_until = _now() + pause.total_seconds()
            raise KeystoneAccountRefused(_REFUSED)
        if answer.status != CREATED or not text:
            raise KeystoneUnavailable(f"answered {answer.status} when imaged signed in")
        identity = identity_in(answer)
        self._refusals = 0
        return OwnToken(text, identity, _now() + _renew_after(identity).total_seconds())


_REFUSED = (
    "does not let imaged sign in: check the account of [auth.keystone], its project, and the names "
    "of their domains, in which case matters"
)


def identity_in(answer: Answer) -> Identity:
    """The identity in an answer about a token. Raises KeystoneUnavailable."""
    try:
        return parse_identity(answer.document)
    except TokenDocumentInvalid as error:
        raise KeystoneUnavailable(
            f"describes a token that imaged cannot read: it {error}"
        ) from error


def clock_difference(identity: Identity, received_at: datetime) -> timedelta:
    """How far our clock is ahead of Keystone's, by a token that it has just given: its time is cut
    to whole seconds.
    """
    return received_at - identity.issued_at


def _renew_after(identity: Identity) -> timedelta:
    """How long our token is used: Keystone's times alone count, so our clock may differ."""
    lives = identity.expires_at - identity.issued_at
    return max(lives - RENEWED_BEFORE, lives / 2)


def _now() -> float:
    return asyncio.get_running_loop().time()
