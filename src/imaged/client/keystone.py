"""Signing in to Keystone: one request, which gives a token and the catalog of services.

The texts of Keystone's errors are not shown: some contain the token.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

import aiohttp

from imaged.client.connection import (
    CONNECT_SECONDS,
    READ_TIMEOUT_SECONDS,
    tcp_connector,
    translated,
)
from imaged.client.errors import KeystoneUnreachable, SignInRefused, UnexpectedResponse
from imaged.client.keystone_account import SECRETS, KeystoneAccount, Method
from imaged.client.service_catalog import image_service_url
from imaged.core.identity import Identity, TokenDocumentInvalid, parse_identity
from imaged.core.limits import KIB, MIB

TOKENS_PATH = "/auth/tokens"
MAX_ANSWER_BYTES = 16 * MIB  # a catalog may be long
MAX_FIELD_BYTES = 64 * KIB  # of a header: tokens may be long
RENEWED_BEFORE = timedelta(minutes=1)  # the end of a token; at most half of its life
UNAUTHORIZED, NOT_FOUND, TOO_MANY_REQUESTS, SERVER_ERRORS = 401, 404, 429, 500
RECEIPT_HEADER = "Openstack-Auth-Receipt"  # what a second factor is added to


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A token, and the image service that it is for. ``renew_at``: of the event loop's clock."""

    token: str
    url: str
    renew_at: float

    def __repr__(self) -> str:
        """Show no token."""
        return f"SignedIn({self.url!r})"


async def sign_in(account: KeystoneAccount, url: str, ca_file: Path | None) -> SignedIn:
    """Ask for a token, or what the given one is for. ``url``: of the image service; "": by catalog.

    Raises KeystoneUnreachable, SignInRefused, ServiceNotInCatalog, UnexpectedResponse,
    EndpointInvalid.
    """
    status, headers, document = await _ask(account, ca_file)
    if status not in {200, 201}:
        raise _refusal(account, status, headers)
    token = account.secret.reveal() if account.is_kept else headers.get("X-Subject-Token", "")
    try:
        identity = parse_identity(document)
    except TokenDocumentInvalid as error:
        raise _not_keystone(account) from error
    if not token:
        raise _not_keystone(account)
    if not (identity.project or identity.domain or identity.is_system):
        raise SignInRefused(
            f"{account.place} gave {account.who} a token without a project.",
            f"Set {account.source.key('project_name')}, and the project's domain if it has one "
            "of its own.",
        )
    renew_at = float("inf") if account.method is Method.TOKEN else _renew_at(identity)
    return SignedIn(token, url or image_service_url(document["token"], account), renew_at)


async def _ask(
    account: KeystoneAccount, ca_file: Path | None
) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    """The answer of Keystone, which is its own JSON. Raises KeystoneUnreachable, EndpointInvalid,
    UnexpectedResponse.
    """
    headers = {"Accept": "application/json", "User-Agent": f"imaged/{version('imaged')}"}
    request: dict[str, Any] = {"method": "POST", "json": account.login_document()}
    if account.is_kept:
        token = account.secret.reveal()
        headers |= {"X-Auth-Token": token, "X-Subject-Token": token}
        request = {"method": "GET"}
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_TIMEOUT_SECONDS
    )
    url = f"{account.url}{TOKENS_PATH}"
    with translated(account.place, KeystoneUnreachable, _address_remedy(account)):
        async with (
            aiohttp.ClientSession(
                connector=tcp_connector(ca_file),
                max_field_size=MAX_FIELD_BYTES,
                timeout=timeout,
            ) as session,
            session.request(url=url, headers=headers, allow_redirects=False, **request) as answer,
        ):
            body = b""
            while not answer.content.at_eof() and len(body) < MAX_ANSWER_BYTES:
                body += await answer.content.read(MAX_ANSWER_BYTES)
            status, told = answer.status, answer.headers
    await asyncio.sleep(0)  # lets the transports close
    if status == TOO_MANY_REQUESTS or status >= SERVER_ERRORS:
        raise KeystoneUnreachable(
            f"{account.place} cannot answer now ({status}).", "Try again later."
        )
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    if not isinstance(document, dict) or not {"token", "error"} & document.keys():
        raise _not_keystone(account)
    return status, told, document


def _refusal(
    account: KeystoneAccount, status: int, headers: Mapping[str, str]
) -> SignInRefused | UnexpectedResponse:
    """The error for a status. A 404 is about the token that is asked about, or the address."""
    key = account.source.key
    if status == UNAUTHORIZED and RECEIPT_HEADER in headers:
        return SignInRefused(
            f"{account.place} wants more than the {SECRETS[account.method]} of {account.who}, "
            "which imaged's commands cannot give.",
            f"Run `openstack token issue`, and set {key('token')} to its token; or use an "
            "application credential.",
        )
    if account.method is Method.TOKEN and status in {UNAUTHORIZED, NOT_FOUND}:
        return SignInRefused(
            f"{account.place} does not know the token: perhaps it has ended.",
            f"Set {key('token')} to a new one, such as `openstack token issue` gives.",
        )
    if status == UNAUTHORIZED:
        secret = SECRETS[account.method]
        what = "; case matters in them"
        if account.method is Method.PASSWORD:
            what = ", and the names of the user, the project and their domains" + what
        return SignInRefused(
            f"{account.place} does not let {account.who} sign in.",
            f"Check {key(secret)}{what}.",
        )
    if status == NOT_FOUND:
        return _not_keystone(account)
    return SignInRefused(
        f"{account.place} refuses the sign-in of {account.who} ({status}).",
        f"Check the settings: {account.source.name} has them.",
    )


def _not_keystone(account: KeystoneAccount) -> UnexpectedResponse:
    return UnexpectedResponse(
        f"The answer of {account.place} is not that of the Identity API v3.",
        _address_remedy(account),
    )


def _address_remedy(account: KeystoneAccount) -> str:
    return f"Check that Keystone runs, and {account.source.key('auth_url')}."


def _renew_at(identity: Identity) -> float:
    """When a new token is due: by Keystone's times alone, so our clock may differ."""
    lives = identity.expires_at - identity.issued_at
    used = max(lives - RENEWED_BEFORE, lives / 2)
    return asyncio.get_running_loop().time() + used.total_seconds()
