"""A web in memory: what can be fetched, by URL, and what each request sent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import anyio

from imaged.core.errors import FetchFailed, FetchRefused
from imaged.ports.fetcher import NO_HEADERS, Fetched


@dataclass
class MemoryFetcher:
    """Is a Fetcher. Hosts that are ``private`` are refused."""

    pages: dict[str, bytes] = field(default_factory=dict)
    private: str = "inside"
    says_size: bool = True
    every: float = 0  # seconds between two chunks
    asked: list[tuple[str, Mapping[str, str]]] = field(default_factory=list)
    compared: list[bool] = field(default_factory=list)  # of all that was opened
    owners: list[str] = field(default_factory=list)  # of all that was checked or opened

    async def check(self, url: str, *, owner: str = "") -> None:
        """Raises FetchRefused."""
        self.owners.append(owner)
        if self.private in url:
            raise FetchRefused(self.private, "address", "its address is not public")

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
        await self.check(url, owner=owner)
        self.compared.append(is_compared)
        self.asked.append((url, headers))
        if url not in self.pages:
            raise FetchFailed("there", "answer", "it answered 404 Not Found")
        page = self.pages[url]
        size_bytes = len(page) if self.says_size else None
        async with aclosing(_cut(page, self.every)) as chunks:
            yield Fetched(size_bytes, chunks, urlsplit(url).netloc)


async def _cut(page: bytes, every: float) -> AsyncGenerator[bytes]:
    length = max(5, len(page) // 1000)
    for start in range(0, len(page), length):
        yield page[start : start + length]
        await anyio.sleep(every)
