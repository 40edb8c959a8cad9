"""The interface for fetching bytes from other services, for imports and for clones."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Fetched:
    """A body that is being fetched. Its chunks can be read once."""

    size_bytes: int | None  # None if the server does not announce it
    chunks: AsyncIterator[bytes]  # raises FetchFailed
    host: str = ""  # the sender after all redirects


class Fetcher(Protocol):
    """Fetches from allowed addresses, and resumes after a broken connection.

    ``owner`` is the project that requests it. No project can use up the shared capacity.
    """

    async def check(self, url: str, *, owner: str = "") -> None:
        """Refuse early what can be refused without a connection.

        Raises FetchRefused. A name that cannot be resolved now is not refused: it may resolve
        later.
        """
        ...

    def open(
        self,
        url: str,
        headers: Mapping[str, str] = NO_HEADERS,
        *,
        owner: str = "",
        is_compared: bool = False,
    ) -> AbstractAsyncContextManager[Fetched]:
        """Begin to fetch. ``headers`` are sent to this origin only, not to redirect targets.

        ``is_compared``: the caller compares the whole with a digest before using it. Only then a
        body that is identified by nothing but its size is resumed after a break.

        Raises FetchRefused if the address, port or scheme is forbidden, at any hop; FetchFailed for
        all other failures, while opening and while reading.
        """
        ...
