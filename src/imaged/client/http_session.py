"""The endpoint of a service, HTTP requests to it, and the translation of failures."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from imaged.client.connection import (
    CONNECT_SECONDS,
    READ_TIMEOUT_SECONDS,
    tcp_connector,
    translated,
)
from imaged.client.errors import (
    UNAUTHORIZED,
    AuthenticationFailed,
    EndpointInvalid,
    TokenEnded,
    UnexpectedResponse,
    error_of_status,
)
from imaged.client.keystone import SignedIn, sign_in
from imaged.client.keystone_account import KeystoneAccount
from imaged.core.limits import KIB, MIB

DEFAULT_URL = "http://127.0.0.1:9292"
#: From the last byte of a body to the answer: S3 may be joining its parts.
UPLOAD_RESPONSE_SECONDS = 900
MAX_MESSAGE_CHARACTERS = 300
MAX_ERROR_BYTES = 16 * KIB
MAX_RESPONSE_BYTES = 16 * MIB
_API_PATH = re.compile(r"/v2(\.\d+)?(/images)?/?$")
_TOKEN = re.compile(r"[\x21-\x7e]+")  # what a header can hold
_HTML_TAG = re.compile(r"<(style|script|title)\b.*?</\1>|<[^>]+>", re.DOTALL | re.IGNORECASE)
_STATUS_LINE = re.compile(r"^\d{3} [\w -]+\n+")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A service. ``url`` ends before the version; ``socket`` is connected to instead of it.

    With an ``account`` the token is that of Keystone, and without a ``url`` its catalog has it.
    """

    url: str
    socket: Path | None = None
    token: str | None = None
    ca_file: Path | None = None
    account: KeystoneAccount | None = None

    @property
    def address(self) -> str:
        """The address as users write it; "": it is in the catalog."""
        return f"unix:{self.socket}" if self.socket else self.url

    @property
    def has_secret(self) -> bool:
        """Whether other users must not read it."""
        return self.token is not None or self.account is not None

    def with_token(self, token: str) -> Endpoint:
        """The same service, with another token; the account's Keystone still says where it is."""
        account = self.account if not self.address else None
        if account is None:
            return replace(self, token=token, account=None)
        return replace(self, account=account.with_token(token))

    def __str__(self) -> str:
        if self.account is not None and not self.address:
            return f"the image service of {self.account.place}"
        return self.address

    def __repr__(self) -> str:
        """Show no token."""
        return f"Endpoint({str(self)!r})"


class HttpSession:
    """Sends requests to one endpoint; translates errors of aiohttp.

    It signs in to Keystone before the first request, shortly before the token ends, and once more
    if the service refuses a token that it took before: an hour is shorter than some transfers.
    """

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        self._session = session
        self._endpoint = endpoint
        self._signed_in: SignedIn | None = None

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, *, patience: float = READ_TIMEOUT_SECONDS, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a successful answer. With ``data`` the request cannot be repeated here.

        Raises ConnectionFailed, ErrorResponse, UnexpectedResponse; TokenEnded if ``data`` is to be
        sent again; SignInRefused, ServiceNotInCatalog.
        """
        options["timeout"] = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=patience
        )
        while True:
            known = self._signed_in
            token = await self._token()
            with translated(self._endpoint):
                answer = await self._send(method, path, token, options)
            if answer.status != UNAUTHORIZED or self._endpoint.account is None:
                break
            answer.close()
            if known is not self._signed_in:  # a token that is new
                raise _refused_at_once(self._endpoint.account)
            self._signed_in = None
            if "data" in options:
                raise TokenEnded
        with translated(self._endpoint):
            async with answer:
                await _raise_for_status(answer)
                yield answer

    async def _token(self) -> str | None:
        """The token to show. Signs in if that is due."""
        account = self._endpoint.account
        if account is None:
            return self._endpoint.token
        now = asyncio.get_running_loop().time()
        if self._signed_in is None or now >= self._signed_in.renew_at:
            self._signed_in = await sign_in(account, self._endpoint.address, self._endpoint.ca_file)
            if not self._endpoint.address:
                found = read_endpoint(self._signed_in.url)
                self._endpoint = replace(self._endpoint, url=found.url)
        return self._signed_in.token

    async def _send(
        self, method: str, path: str, token: str | None, options: dict[str, Any]
    ) -> aiohttp.ClientResponse:
        shown = {} if token is None else {"X-Auth-Token": token}
        return await self._session.request(
            method,
            f"{self._endpoint.url}{path}",
            allow_redirects=False,  # the token is for this service alone
            **{**options, "headers": {**options.get("headers", {}), **shown}},
        )

    async def ask_json(self, method: str, path: str, **options: Any) -> Any:
        """The answer, which must be JSON. Raises ConnectionFailed, ErrorResponse,
        UnexpectedResponse.
        """
        async with self.ask(method, path, **options) as answer:
            text = await answer.content.read(MAX_RESPONSE_BYTES)
            while not answer.content.at_eof():
                text += await answer.content.read(MAX_RESPONSE_BYTES)
            try:
                return json.loads(text)
            except ValueError as error:
                raise UnexpectedResponse(f"The answer of {self._endpoint} is not JSON.") from error


@asynccontextmanager
async def open_http_session(endpoint: Endpoint) -> AsyncIterator[HttpSession]:
    """Connect as needed, for as long as the block runs. Raises EndpointInvalid."""
    headers = {"Accept": "application/json", "User-Agent": f"imaged/{version('imaged')}"}
    async with aiohttp.ClientSession(
        connector=_connector(endpoint),
        headers=headers,
        auto_decompress=False,
        read_bufsize=MIB,
    ) as session:
        yield HttpSession(session, endpoint)
        await asyncio.sleep(0)  # lets the transports close


def _connector(endpoint: Endpoint) -> aiohttp.BaseConnector:
    if endpoint.socket is not None:
        return aiohttp.UnixConnector(str(endpoint.socket))
    return tcp_connector(endpoint.ca_file)


def _refused_at_once(account: KeystoneAccount) -> AuthenticationFailed:
    return AuthenticationFailed(
        UNAUTHORIZED,
        f"The service does not take the token of {account.place}.",
        "Check that it asks the same Keystone; its log says more.",
    )


async def _raise_for_status(answer: aiohttp.ClientResponse) -> None:
    if 200 <= answer.status < 300:  # noqa: PLR2004 - that is what success is
        return
    body = b""
    try:
        body = await answer.content.read(MAX_ERROR_BYTES)
    except (aiohttp.ClientError, ConnectionError):
        pass  # the status says enough
    finally:
        answer.close()  # also if the body is still being sent
    if 300 <= answer.status < 400:  # noqa: PLR2004 - redirects
        raise UnexpectedResponse(
            f"The service redirects to {answer.headers.get('Location', 'an unnamed address')}.",
            "Give its address by --url.",
        )
    sentence = error_message(body, answer.reason or "no reason was given")
    raise error_of_status(answer.status, sentence)


def error_message(body: bytes, otherwise: str) -> str:
    """The text of a refusal: the message in JSON, or the text of a page."""
    text = body.decode("utf-8", "replace")
    try:
        told = json.loads(text)
        text = str(told.get("message", "")) if isinstance(told, dict) else ""
    except ValueError:
        text = _STATUS_LINE.sub("", _HTML_TAG.sub("", text).strip())
    words = "".join(sign if sign.isprintable() else " " for sign in text).split()
    sentence = " ".join(words)[:MAX_MESSAGE_CHARACTERS]
    return sentence or otherwise


def read_endpoint(
    address: str,
    *,
    token: str | None = None,
    ca_file: Path | None = None,
    account: KeystoneAccount | None = None,
) -> Endpoint:
    """``http://host:port``, ``https://host/path`` or ``unix:/path``; "" with an account whose
    catalog has it. Raises EndpointInvalid.
    """
    if token is not None and not _TOKEN.fullmatch(token):
        raise EndpointInvalid("The token has invalid characters.", "It must be one line of text.")
    if ca_file is not None and not ca_file.is_file():
        raise EndpointInvalid(f"There is no file {ca_file}.", "It must contain certificates (PEM).")
    if address.startswith("unix:/"):
        socket = Path(address.removeprefix("unix:"))
        return Endpoint("http://imaged", socket, token, ca_file if account else None, account)
    if account is not None and not address:
        return Endpoint("", None, None, ca_file, account)
    if not _is_http(address):
        raise EndpointInvalid(
            f"{_redacted(address)} is not the address of an Image API.",
            "It must be like http://host:9292, https://host/path or unix:/path/of/a/socket.",
        )
    return Endpoint(_API_PATH.sub("", address).rstrip("/"), None, token, ca_file, account)


def read_token(file: Path, what: str = "token") -> str:
    """Read the token, or another secret, from the only line of a file. Raises EndpointInvalid."""
    try:
        token = file.read_text("utf-8").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise EndpointInvalid(
            f"The {what} in {file} cannot be read: {why}.", "Name a file that you may read."
        ) from error
    if not token.strip():
        raise EndpointInvalid(f"{file} contains no {what}.", f"Put the {what} into it.")
    return token


def _is_http(address: str) -> bool:
    try:
        parts = urlsplit(address)
        has_place = bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
    is_more = parts.query or parts.fragment or parts.username
    return parts.scheme in {"http", "https"} and has_place and not is_more


def _redacted(address: str) -> str:
    return re.sub(r"//.*@", "//…@", address)
