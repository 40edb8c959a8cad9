"""The endpoint of a service, HTTP requests to it, and the translation of failures."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from imaged.client.errors import (
    ConnectionFailed,
    EndpointInvalid,
    UnexpectedResponse,
    error_of_status,
)
from imaged.core.limits import KIB, MIB

DEFAULT_URL = "http://127.0.0.1:9292"
CONNECT_SECONDS = 10
READ_TIMEOUT_SECONDS = 60  # within an answer
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
    """A service. ``url`` ends before the version; ``socket`` is connected to instead of it."""

    url: str
    socket: Path | None = None
    token: str | None = None
    ca_file: Path | None = None

    def __str__(self) -> str:
        return f"unix:{self.socket}" if self.socket else self.url

    def __repr__(self) -> str:
        """Show no token."""
        return f"Endpoint({str(self)!r})"


class HttpSession:
    """Sends requests to one endpoint; translates errors of aiohttp."""

    def __init__(self, session: aiohttp.ClientSession, endpoint: Endpoint) -> None:
        self._session = session
        self._endpoint = endpoint

    @asynccontextmanager
    async def ask(
        self, method: str, path: str, *, patience: float = READ_TIMEOUT_SECONDS, **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open a successful answer.

        Raises ConnectionFailed, ErrorResponse, UnexpectedResponse.
        """
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CONNECT_SECONDS, sock_read=patience
        )
        with self._translate_errors():
            async with self._session.request(
                method,
                f"{self._endpoint.url}{path}",
                allow_redirects=False,  # the token is for this service alone
                timeout=timeout,
                **options,
            ) as answer:
                await _raise_for_status(answer)
                yield answer

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

    @contextmanager
    def _translate_errors(self) -> Iterator[None]:
        where = self._endpoint
        try:
            yield
        except aiohttp.ClientConnectorCertificateError as error:
            raise EndpointInvalid(
                f"The certificate of {where} is not trusted: {error.certificate_error}",
                "Name the file of the authority's certificate by --ca-file.",
            ) from error
        except aiohttp.ClientConnectorSSLError as error:
            raise EndpointInvalid(
                f"{where} cannot be reached by TLS: {_tls_reason(error)}.",
                "If this service speaks plain HTTP, its address begins with http://.",
            ) from error
        except aiohttp.ClientConnectorError as error:
            number = error.os_error.errno or 0  # failed name lookups have others
            why = os.strerror(number) if number > 0 else error.os_error.strerror
            raise ConnectionFailed(f"{where} cannot be reached: {why}.") from error
        except TimeoutError as error:
            raise ConnectionFailed(f"{where} was silent for too long.") from error
        except aiohttp.InvalidURL as error:
            raise EndpointInvalid(f"{where} is not a valid address.") from error
        except aiohttp.ClientResponseError as error:
            raise UnexpectedResponse(
                f"The answer of {where} is not HTTP: {error.message}."
            ) from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ConnectionFailed(f"The connection to {where} broke.") from error


@asynccontextmanager
async def open_http_session(endpoint: Endpoint) -> AsyncIterator[HttpSession]:
    """Connect as needed, for as long as the block runs. Raises EndpointInvalid."""
    headers = {"Accept": "application/json", "User-Agent": f"imaged/{version('imaged')}"}
    if endpoint.token is not None:
        headers["X-Auth-Token"] = endpoint.token
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
    if endpoint.ca_file is None:
        return aiohttp.TCPConnector()
    try:
        trusted = ssl.create_default_context(cafile=str(endpoint.ca_file))
    except (OSError, ssl.SSLError) as error:
        raise EndpointInvalid(
            f"The certificates in {endpoint.ca_file} cannot be used: {error}.",
            "Name a file of certificates (PEM) that you may read.",
        ) from error
    return aiohttp.TCPConnector(ssl=trusted)


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
    address: str, *, token: str | None = None, ca_file: Path | None = None
) -> Endpoint:
    """``http://host:port``, ``https://host/path`` or ``unix:/path``. Raises EndpointInvalid."""
    if token is not None and not _TOKEN.fullmatch(token):
        raise EndpointInvalid("The token has invalid characters.", "It must be one line of text.")
    if ca_file is not None and not ca_file.is_file():
        raise EndpointInvalid(f"There is no file {ca_file}.", "It must contain certificates (PEM).")
    if address.startswith("unix:/"):
        return Endpoint("http://imaged", Path(address.removeprefix("unix:")), token)
    if not _is_http(address):
        raise EndpointInvalid(
            f"{_redacted(address)} is not the address of an Image API.",
            "It must be like http://host:9292, https://host/path or unix:/path/of/a/socket.",
        )
    return Endpoint(_API_PATH.sub("", address).rstrip("/"), None, token, ca_file)


def read_token(file: Path) -> str:
    """Read the token from the only line of a file. Raises EndpointInvalid."""
    try:
        token = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise EndpointInvalid(
            f"The token in {file} cannot be read: {why}.", "Name a file that you may read."
        ) from error
    if not token:
        raise EndpointInvalid(f"{file} contains no token.", "Put the token into it.")
    return token


def _tls_reason(error: aiohttp.ClientConnectorSSLError) -> str:
    """The reason of OpenSSL, as ``wrong version number``."""
    reason = getattr(error.os_error, "reason", None)
    return str(reason or "the handshake failed").replace("_", " ").lower()


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
