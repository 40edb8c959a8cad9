"""Requests to Keystone, whose endpoints are tried in turn until one gives a usable answer.

An answer is usable if it is JSON of Keystone's own. A page in HTML, whatever its status, is of a
proxy or of a wrong address: a 404 of that kind would otherwise count as the refusal of a token.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from imaged.core.errors import KeystoneSettingsUnusable, KeystoneSilent, KeystoneUnavailable
from imaged.core.limits import KIB, MIB
from imaged.keystone.settings import KeystoneSettings

MAX_ANSWER_BYTES = 1 * MIB
HEADERS = {"Accept": "application/json", "User-Agent": f"imaged/{version('imaged')}"}
FIRST_ERROR = 400
FIRST_SERVER_ERROR = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """A usable answer: a document, or an error of Keystone's own."""

    status: int
    headers: Mapping[str, str]
    document: Mapping[str, Any]

    @property
    def error_text(self) -> str:
        """The text of an error. It may contain the whole token that was asked about, and is only
        to be compared: never to be logged or shown.
        """
        error = self.document.get("error")
        return str(error.get("message", "")) if isinstance(error, Mapping) else ""


class Endpoints:
    """The addresses of one Keystone. The one that answered last is asked first.

    Raises KeystoneSettingsUnusable.
    """

    def __init__(self, settings: KeystoneSettings) -> None:
        self._settings = settings
        self._urls = [_with_version(url) for url in settings.urls]
        self._tls = _trust(settings)
        self._session: aiohttp.ClientSession | None = None  # opened by the first request

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        document: object = None,
    ) -> Answer:
        """Return the first usable answer to a request. ``path``: below ``/v3``.

        Raises KeystoneUnavailable; KeystoneSilent if no endpoint answered at all.
        """
        failures: dict[str, KeystoneUnavailable] = {}
        options = {"params": query, "headers": headers, "json": document}
        pauses = self._settings.rounds.pauses()
        try:
            async with asyncio.timeout(self._settings.total_time.total_seconds()):
                while True:
                    for url in list(self._urls):
                        try:
                            answer = await self._send_to(url, method, path, options)
                        except KeystoneUnavailable as failure:
                            failures[url] = failure
                        else:
                            self._prefer(url)
                            return answer
                    if (pause := next(pauses, None)) is None:
                        raise _failure_of_all(failures)
                    await asyncio.sleep(pause.total_seconds())
        except TimeoutError:
            raise _failure_of_all(failures) from None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _send_to(
        self, url: str, method: str, path: str, options: Mapping[str, Any]
    ) -> Answer:
        with _translated(url):
            async with self._connected().request(
                method, f"{url}{path}", allow_redirects=False, **options
            ) as response:
                body = await response.content.read(MAX_ANSWER_BYTES)
                while not response.content.at_eof() and len(body) < MAX_ANSWER_BYTES:
                    body += await response.content.read(MAX_ANSWER_BYTES)
                return Answer(
                    response.status, response.headers, _usable(url, response.status, body)
                )

    def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            settings = self._settings
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._tls, limit=settings.max_connections),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=HEADERS,
                max_field_size=64 * KIB,
                timeout=aiohttp.ClientTimeout(
                    total=settings.answer_timeout.total_seconds(),
                    sock_connect=settings.connect_timeout.total_seconds(),
                ),
            )
        return self._session

    def _prefer(self, url: str) -> None:
        if self._urls[0] != url:
            self._urls.remove(url)
            self._urls.insert(0, url)


def _usable(url: str, status: int, body: bytes) -> Mapping[str, Any]:
    """The document of an answer. Raises KeystoneUnavailable if it is not one of Keystone."""
    try:
        document = json.loads(body)
    except ValueError:
        document = None
    is_error = status >= FIRST_ERROR
    if status >= FIRST_SERVER_ERROR or status == 429:  # noqa: PLR2004 - too many requests
        raise KeystoneUnavailable(f"at {_place(url)} answered {status}")
    if not isinstance(document, dict) or (is_error and not _is_keystones(document, status)):
        raise KeystoneUnavailable(
            f"at {_place(url)} answered {status} without a document of Keystone's: check "
            "auth.keystone.url"
        )
    if not is_error and status not in {200, 201}:
        raise KeystoneUnavailable(f"at {_place(url)} answered {status}: check auth.keystone.url")
    return document


def _is_keystones(document: Mapping[str, Any], status: int) -> bool:
    error = document.get("error")
    return isinstance(error, Mapping) and error.get("code") == status


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Raise KeystoneSilent, or KeystoneUnavailable, for what the HTTP library raises."""
    place = _place(url)
    try:
        yield
    except aiohttp.ClientConnectorCertificateError as error:
        raise KeystoneUnavailable(
            f"at {place} has a certificate that is not trusted: check auth.keystone.ca_file"
        ) from error
    except aiohttp.ClientSSLError as error:
        raise KeystoneUnavailable(f"at {place} cannot be reached by TLS") from error
    except aiohttp.ClientConnectorError as error:
        raise KeystoneSilent(f"at {place} cannot be connected to") from error
    except TimeoutError as error:
        raise KeystoneSilent(f"at {place} did not answer in time") from error
    except aiohttp.ClientResponseError as error:
        raise KeystoneUnavailable(f"at {place} answered with something other than HTTP") from error
    except (aiohttp.ClientError, OSError) as error:
        raise KeystoneUnavailable(f"at {place} broke off the connection") from error


def _failure_of_all(failures: Mapping[str, KeystoneUnavailable]) -> KeystoneUnavailable:
    """One error for those of all endpoints."""
    if not failures:
        return KeystoneSilent("did not answer in time")
    texts = [str(failure).removeprefix("Keystone ").rstrip(".") for failure in failures.values()]
    is_silent = all(isinstance(failure, KeystoneSilent) for failure in failures.values())
    kind = KeystoneSilent if is_silent else KeystoneUnavailable
    return kind("; ".join(texts))


def _with_version(url: str) -> str:
    """The address of the API: operators may write it with or without its version."""
    bare = url.rstrip("/")
    return bare if bare.endswith("/v3") else f"{bare}/v3"


def _place(url: str) -> str:
    """The host and the port, for people."""
    return urlsplit(url).netloc


def _trust(settings: KeystoneSettings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise KeystoneSettingsUnusable(
            f"The certificates in {settings.ca_file} (auth.keystone.ca_file) cannot be used: {why}"
        ) from error
