"""Fetches over http and https, within the limits that the operator sets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager

from aiohttp.abc import AbstractResolver

from imaged.core.errors import FetchRefused
from imaged.core.network_policy import may_be_reached
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.fetchers.redirects import Redirector
from imaged.fetchers.resolver import NameResolver
from imaged.fetchers.resumable_fetch import ResumableFetch
from imaged.fetchers.ssrf_guard import parse_numeric_address
from imaged.fetchers.urls import NOT_PUBLIC, host_of, parse_url
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
