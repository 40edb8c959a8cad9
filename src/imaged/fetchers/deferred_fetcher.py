"""A fetcher whose HTTP client is loaded by the first fetch.

The client (aiohttp) takes 60 ms and 6 MiB, and most processes never fetch. It is loaded in a
thread, beside the event loop.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from imaged.fetchers.fetch_settings import FetchSettings
from imaged.ports.fetcher import NO_HEADERS, Fetched, Fetcher


class DeferredFetcher:
    """Fetches by an HttpFetcher. Is a ``Fetcher``. Raises OSError if ``ca_file`` is unusable."""

    def __init__(self, settings: FetchSettings) -> None:
        if settings.ca_file is not None:
            ssl.create_default_context(cafile=settings.ca_file)  # found unusable at the start
        self._settings = settings
        self._fetcher: Fetcher | None = None

    async def check(self, url: str, *, owner: str = "") -> None:
        """Refuse early what can be refused without a connection. Raises FetchRefused."""
        fetcher = await self._loaded()
        await fetcher.check(url, owner=owner)

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
        fetcher = await self._loaded()
        async with fetcher.open(url, headers, owner=owner, is_compared=is_compared) as fetched:
            yield fetched

    async def _loaded(self) -> Fetcher:
        if self._fetcher is None:
            made = await asyncio.to_thread(_make_http_fetcher, self._settings)
            self._fetcher = self._fetcher or made  # another request may have been faster
        return self._fetcher


def _make_http_fetcher(settings: FetchSettings) -> Fetcher:
    from imaged.fetchers.http_fetcher import HttpFetcher

    return HttpFetcher(settings)
