"""Fetches over http and https, within the limits that the operator sets.

One body is downloaded over as many connections as it takes. After a break the rest is requested as
a range (RFC 9110, section 14), and accepted only if it belongs to the same body: its ETag,
Last-Modified and size must equal those of the first answer. A body with neither ETag nor
Last-Modified is not resumed, because a mixture of two versions would go unnoticed, unless the whole
is compared with a digest before it counts.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from aiohttp.abc import AbstractResolver
from yarl import URL

from imaged.core.errors import FetchFailed, FetchRefused
from imaged.core.network_policy import may_be_reached
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.redirects import (
    CONNECTION_ERRORS,
    FetchResponse,
    Redirector,
    RetryableFailure,
    is_retryable_status,
)
from imaged.fetchers.resolver import NameResolver
from imaged.fetchers.response_headers import (
    BodyValidators,
    printable,
    retry_after_seconds,
    unsupported_coding,
    validators_of,
)
from imaged.fetchers.ssrf_guard import NOT_PUBLIC, host_of, parse_numeric_address, parse_url
from imaged.ports.fetcher import NO_HEADERS, Fetched

NAME_LOOKUP_TIMEOUT_SECONDS = 5  # for a name, while a client waits for the answer to its request


class HttpFetcher:
    """Fetches URLs. Is a ``Fetcher`` (``ports/fetcher.py``)."""

    def __init__(
        self,
        settings: FetchSettings,
        resolver_of: Callable[[str], AbstractResolver] | None = None,
    ) -> None:
        self._settings = settings
        self._resolver_of = resolver_of or NameResolver().of
        self._tls = ssl.create_default_context(cafile=settings.ca_file)

    async def check(self, url: str, *, owner: str = "") -> None:
        """Refuse early what can be refused without a connection. Raises FetchRefused."""
        parsed = parse_url(url, self._settings)
        resolver = self._resolver_of(owner)
        try:
            async with asyncio.timeout(NAME_LOOKUP_TIMEOUT_SECONDS):
                found = await resolver.resolve(parsed.raw_host or "", parsed.port or 0)
        except OSError:  # and TimeoutError: it may resolve later
            return
        finally:
            await resolver.close()
        addresses = [parse_numeric_address(entry["host"]) for entry in found]
        if not any(may_be_reached(address, self._settings.allow) for address in addresses):
            raise FetchRefused(host_of(parsed), "address", NOT_PUBLIC)

    @asynccontextmanager
    async def open(
        self,
        url: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        owner: str = "",
        is_compared: bool = False,
    ) -> AsyncIterator[Fetched]:
        """Begin to fetch. Raises FetchRefused, FetchFailed."""
        parsed = parse_url(url, self._settings)
        redirector = Redirector(self._settings, lambda: self._resolver_of(owner), self._tls)
        transfer = ResumableFetch(
            redirector, self._settings, parsed, headers, is_compared=is_compared
        )
        try:
            size_bytes = await transfer.begin()
            async with aclosing(transfer.chunks()) as chunks:
                yield Fetched(size_bytes, chunks, transfer.host)
        finally:
            await transfer.close()


class ResumableFetch:
    """Downloads one body. Raises FetchRefused and FetchFailed."""

    def __init__(
        self,
        redirector: Redirector,
        settings: FetchSettings,
        url: URL,
        headers: Mapping[str, str],
        *,
        is_compared: bool = False,
    ) -> None:
        self._redirector = redirector
        self._settings = settings
        self._url = url
        self._headers = headers
        self._answer: FetchResponse | None = None
        self._validators = BodyValidators(is_compared=is_compared)
        self._received_bytes = 0
        self._failures = 0  # in a row
        self._deadline = _now() + settings.total_time.total_seconds()

    async def begin(self) -> int | None:
        """Send the request; returns the size of the body in bytes, if it is announced."""
        self._answer = await self._ask_with_retries(None)
        is_compared = self._validators.is_compared
        self._validators = validators_of(self._answer.response, is_compared=is_compared)
        return self._validators.size_bytes

    @property
    def host(self) -> str:
        """The host that sends it, after redirects."""
        return host_of(self._url) if self._answer is None else self._answer.host

    async def close(self) -> None:
        """Close the connection."""
        if self._answer is not None:
            await self._answer.close()

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The whole body in order, once."""
        answer, skip_bytes = self._answer, 0
        assert answer is not None, "begin() comes first"  # noqa: S101 - of the caller, not the world
        while True:
            try:
                async for chunk in self._pieces(answer):
                    kept = chunk[skip_bytes:]
                    skip_bytes -= len(chunk) - len(kept)
                    if kept:
                        self._received_bytes += len(kept)
                        self._failures = 0
                        yield kept
                self._require_whole(answer)
            except RetryableFailure as broken:
                answer, skip_bytes = await self._resume(answer, broken)
            else:
                return

    async def _pieces(self, answer: FetchResponse) -> AsyncGenerator[bytes]:
        rate_monitor = RateMonitor(self._settings.min_bytes_per_second, self._settings.rate_window)
        while True:
            began = _now()
            try:
                async with asyncio.timeout(
                    min(rate_monitor.max_wait_seconds, self._seconds_left(answer))
                ):
                    chunk, ends_part = await answer.response.content.readchunk()
            except TimeoutError:
                chunk, ends_part = b"", True
            except CONNECTION_ERRORS as error:
                raise RetryableFailure(
                    FetchFailed(answer.host, "body", self._broke_off())
                ) from error
            if not rate_monitor.note(_now() - began, len(chunk)):
                why = f"it sends less than {self._settings.min_bytes_per_second} bytes per second"
                raise RetryableFailure(FetchFailed(answer.host, "body", why))
            if chunk:
                yield chunk
            elif not ends_part:
                return

    async def _resume(
        self, answer: FetchResponse, broken: RetryableFailure
    ) -> tuple[FetchResponse, int]:
        """The answer to continue with, and how many of its first bytes are already here."""
        await answer.close()
        self._answer = answer = await self._ask_with_retries(broken)
        if answer.response.status == HTTPStatus.PARTIAL_CONTENT:
            identity = self._validators.matching_rest(answer.response, self._received_bytes)
            if identity is not None:
                self._validators = identity
                return answer, 0
            await answer.close()  # of another version or unknown: the digest decides
            self._answer = answer = await self._ask_with_retries(None, whole=True)
        if self._validators.matches_whole(answer.response, self._received_bytes):
            return answer, self._received_bytes
        why = f"it broke off after {self._received_bytes} bytes, and cannot be resumed there"
        if not self._validators.has_validators:
            why += ", because neither ETag nor Last-Modified tells whether it is still the same"
        raise FetchFailed(answer.host, "body", why) from broken

    async def _ask_with_retries(
        self, broken: RetryableFailure | None, *, whole: bool = False
    ) -> FetchResponse:
        """Repeat the request until an answer is usable, a limited number of times."""
        while True:
            if broken is not None:
                await self._pause(broken)
            try:
                return await self._ask(whole=whole)
            except RetryableFailure as error:
                broken = error

    async def _ask(self, *, whole: bool) -> FetchResponse:
        rest = {} if whole else self._validators.range_headers(self._received_bytes)
        answer = await self._redirector.ask(self._url, {**self._headers, **rest})
        status, headers = answer.response.status, answer.response.headers
        if status == HTTPStatus.OK or (rest and status == HTTPStatus.PARTIAL_CONTENT):
            if not (coding := unsupported_coding(headers)):
                return answer
            why = f"it sends the body encoded as {printable(coding)}, which was not asked for"
        else:
            why = f"it answered {status} {printable(answer.response.reason or '')}".rstrip()
        await answer.close()
        failure = FetchFailed(answer.host, "answer", why)
        if is_retryable_status(status):
            raise RetryableFailure(
                failure, retry_after_seconds(headers.get("Retry-After", ""), _utc_now())
            )
        raise failure

    async def _pause(self, broken: RetryableFailure) -> None:
        self._failures += 1
        chance = random.random()  # noqa: S311 - spreads load
        pause = self._settings.retries.next_pause(self._failures, timedelta(0), chance)
        if pause is None:
            raise broken.failure from broken
        seconds = max(pause.total_seconds(), broken.wait_seconds)
        if _now() + seconds > self._deadline:
            raise broken.failure from broken
        await asyncio.sleep(seconds)

    def _require_whole(self, answer: FetchResponse) -> None:
        if self._validators.size_bytes not in {None, self._received_bytes}:
            raise RetryableFailure(FetchFailed(answer.host, "body", self._broke_off()))

    def _broke_off(self) -> str:
        size = self._validators.size_bytes
        of = "" if size is None else f" of {size}"
        return f"it broke off after {self._received_bytes}{of} bytes"

    def _seconds_left(self, answer: FetchResponse) -> float:
        left = self._deadline - _now()
        if left <= 0:
            why = f"it took longer than {self._settings.total_time}"
            raise FetchFailed(answer.host, "body", why)
        return left


class RateMonitor:
    """Counts only the time spent waiting, so imaged itself may be slow."""

    def __init__(self, min_bytes_per_second: int, window: timedelta) -> None:
        self._least_bytes = min_bytes_per_second * window.total_seconds()
        self._window_seconds = window.total_seconds()
        self._waited_seconds = 0.0
        self._received_bytes = 0

    @property
    def max_wait_seconds(self) -> float:
        """The maximum time to wait for the next bytes."""
        return self._window_seconds - self._waited_seconds

    def note(self, waited_seconds: float, received_bytes: int) -> bool:
        """Record one wait and its bytes; returns False if it was too slow for too long."""
        self._waited_seconds += waited_seconds
        self._received_bytes += received_bytes
        if self._waited_seconds < self._window_seconds:
            return True
        was_enough = self._received_bytes >= self._least_bytes
        self._waited_seconds, self._received_bytes = 0.0, 0
        return was_enough


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _now() -> float:
    return asyncio.get_running_loop().time()
