"""What fetches bytes from elsewhere, for imports and for clones of other services' images."""

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

    size_bytes: int | None  # None where the other side does not say
    chunks: AsyncIterator[bytes]  # raises FetchFailed
    host: str = ""  # who sends it, at the end of all redirects


class Fetcher(Protocol):
    """Fetches what may be fetched, and resumes after a break.

    ``owner`` is the project that asks. One project cannot use up what all of them need.
    """

    async def check(self, url: str, *, owner: str = "") -> None:
        """Refuse at once what can be refused without asking the other side.

        Raises FetchRefused. A name that cannot be resolved now is no reason: it may be later.
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
        """Begin to fetch. ``headers`` go to this origin only, not to where it redirects.

        ``is_compared``: the caller compares the whole with a digest before it counts. A body that
        has no mark but its size is resumed after a break then, and only then.

        Raises FetchRefused where the address, port or scheme is forbidden, at any hop; FetchFailed
        for everything else, while opening and while reading.
        """
        ...
