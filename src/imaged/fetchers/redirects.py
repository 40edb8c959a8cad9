"""One response, after following its redirects.

Every hop uses a new connection: none is reused, no proxy of the environment is used, no cookie is
kept, and each address is checked where its socket is made.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from imaged.core.errors import FetchFailed, FetchRefused
from imaged.core.limits import KIB
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.ssrf_guard import (
    NOT_PUBLIC,
    SsrfGuard,
    host_of,
    redirect_target,
    require_allowed_url,
)

REDIRECTS = (301, 302, 303, 307, 308)
MAX_BUFFERED_BYTES = 64 * KIB  # unread data stays in the kernel's buffers, not here
MAX_HEADER_BYTES = 64 * KIB  # some signed cookies and policies are longer than 8 KiB
CROSS_ORIGIN_HEADERS = ("Range", "If-Range")  # headers that may follow a redirect to another host
CONNECTION_ERRORS = (aiohttp.ClientError, TimeoutError, OSError)

_FAILURES: Mapping[type[BaseException], tuple[str, str, bool]] = {  # phase, reason, retryable
    aiohttp.ClientConnectorDNSError: ("name", "the name cannot be resolved", True),
    aiohttp.ClientConnectorCertificateError: ("connection", "its certificate is not valid", False),
    aiohttp.ClientSSLError: ("connection", "the TLS handshake failed", False),
    aiohttp.ClientConnectorError: ("connection", "it cannot be connected to", True),
    aiohttp.ConnectionTimeoutError: ("connection", "it cannot be connected to", True),
    aiohttp.ClientResponseError: (
        "answer",
        "its answer is not HTTP, or has more than 64 KiB of headers",
        False,
    ),
    aiohttp.InvalidURL: ("address", "it cannot be parsed", False),
    TimeoutError: ("answer", "no answer came in time", True),
    Exception: ("answer", "the connection broke off", True),
}


class RetryableFailure(Exception):
    """The request may succeed later; ``failure`` is the error if it does not.

    ``wait_seconds``: the pause that the other side requests (RFC 9110, 10.2.3).
    """

    def __init__(self, failure: FetchFailed, wait_seconds: float = 0.0) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class FetchResponse:
    """A response whose body has not been read yet. Must be closed."""

    url: URL
    response: aiohttp.ClientResponse
    session: aiohttp.ClientSession

    @property
    def host(self) -> str:
        """The host that answered."""
        return host_of(self.url)

    async def close(self) -> None:
        """Close the connection, including an unread body."""
        self.response.close()
        await self.session.close()


@dataclass(frozen=True, slots=True)
class Redirector:
    """Requests URLs for one project."""

    settings: FetchSettings
    resolver: Callable[[], AbstractResolver]
    tls: ssl.SSLContext

    async def ask(self, url: URL, headers: Mapping[str, str]) -> FetchResponse:
        """The response at the end of the redirects. Raises FetchRefused, FetchFailed,
        RetryableFailure.
        """
        private = headers
        for _ in range(self.settings.redirects + 1):
            answer = await self._fetch_once(url, private)
            if answer.response.status not in REDIRECTS:
                return answer
            try:
                target = self._target(answer)
            finally:
                await answer.close()
            if target.origin() != url.origin():
                private = {
                    name: value for name, value in private.items() if name in CROSS_ORIGIN_HEADERS
                }
            url = target
        why = f"it redirected more than {self.settings.redirects} times"
        raise FetchFailed(host_of(url), "redirect", why)

    def _target(self, answer: FetchResponse) -> URL:
        try:
            target = redirect_target(answer.url, answer.response.headers.get("Location", ""))
        except FetchRefused as error:
            why = "it redirected to an invalid URL"
            raise FetchFailed(answer.host, "redirect", why) from error
        if answer.url.scheme == "https" and target.scheme == "http":
            raise FetchRefused(answer.host, "redirect", "it redirected from https to http")
        require_allowed_url(target, self.settings)
        return target

    async def _fetch_once(self, url: URL, headers: Mapping[str, str]) -> FetchResponse:
        guard = SsrfGuard(self.settings.allow)
        session = self._session(guard)
        try:
            async with asyncio.timeout(self.settings.answer_timeout.total_seconds()):
                response = await session.get(url, headers=headers, allow_redirects=False)
        except CONNECTION_ERRORS as error:
            await session.close()
            raise _translated(url, guard, error) from error
        except BaseException:
            await session.close()
            raise
        return FetchResponse(url, response, session)

    def _session(self, guard: SsrfGuard) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(
            resolver=self.resolver(),
            socket_factory=guard,
            ssl=self.tls,
            use_dns_cache=False,
            force_close=True,
        )
        connect_seconds = self.settings.connect_timeout.total_seconds()
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=MAX_BUFFERED_BYTES,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            headers={"Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_seconds),
        )


def is_retryable_status(status: int) -> bool:
    """Whether the same request may soon get another answer."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_MANY_REQUESTS,
    }


def _translated(url: URL, guard: SsrfGuard, error: BaseException) -> Exception:
    """The error for a failed connection or response."""
    host = host_of(url)
    if guard.refused_every_address:
        return FetchRefused(host, "address", NOT_PUBLIC)
    phase, reason, passes = next(
        what for kind, what in _FAILURES.items() if isinstance(error, kind)
    )
    failure = FetchFailed(host, phase, reason)
    return RetryableFailure(failure) if passes else failure
