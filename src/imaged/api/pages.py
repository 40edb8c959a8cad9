"""Pages of lists: the limit, the marker, and the addresses of the first and the next page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from urllib.parse import urlencode

from imaged.api.filters import number
from imaged.api.requests import is_uuid
from imaged.core.errors import ImageNotFound, InvalidQuery, TaskNotFound

DEFAULT_LIMIT = 25
MAX_LIMIT = 1000

QueryT = TypeVar("QueryT")
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class Listing(Generic[QueryT]):
    """A requested list. The id of a page's last item marks the next page."""

    path: str
    query: QueryT  # without ``after``: the marker is looked up first
    marker: str | None
    parameters: Sequence[tuple[str, str]]

    @property
    def first(self) -> str:
        """The address of the first page."""
        return self._address(self._unmarked())

    def next_after(self, item_id: str) -> str:
        """The address of the page after this item."""
        return self._address([*self._unmarked(), ("marker", item_id)])

    async def marked(self, show: Callable[[str], Awaitable[ItemT]], kind: str) -> ItemT | None:
        """The item that the marker names; None without a marker. Raises InvalidQuery."""
        if self.marker is None:
            return None
        try:
            if is_uuid(self.marker):
                return await show(self.marker.lower())
        except (ImageNotFound, TaskNotFound):
            pass
        raise InvalidQuery("marker", f"names no {kind} that you can see")

    def _unmarked(self) -> list[tuple[str, str]]:
        return [(name, value) for name, value in self.parameters if name != "marker"]

    def _address(self, pairs: Iterable[tuple[str, str]]) -> str:
        query = urlencode(list(pairs))
        return f"{self.path}?{query}" if query else self.path


def read_limit(text: str | None) -> int:
    """The number of items on a page. Raises InvalidQuery."""
    return DEFAULT_LIMIT if text is None else min(number("limit", text), MAX_LIMIT)
