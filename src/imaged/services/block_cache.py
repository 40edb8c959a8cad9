"""A cache of one verified block per connection, for the next range of the same client.

A client that reads 64 KiB at a time requests parts of one block of 4 MiB sixty-four times; without
the cache, the whole block would be read and verified each time. A connection keeps at most one
block, and only while the transfer budget has ample room.
"""

from __future__ import annotations

from collections.abc import Sequence

from imaged.services.transfer_budget import TransferBudget

#: The key of the connection's cache in the ``state`` of an ASGI scope.
BLOCK_CACHE = "kept_block"


class BlockCache:
    """The block of one connection. Its bytes count as in flight while it is cached."""

    def __init__(self) -> None:
        self._name: tuple[str, int] | None = None
        self._chunks: Sequence[bytes] = ()
        self._size_bytes = 0
        self._budget: TransferBudget | None = None

    def take(self, key: str, number: int) -> Sequence[bytes] | None:
        """The chunks of this block of a blob, if it is cached; otherwise the cache is emptied."""
        if self._name == (key, number):
            return self._chunks
        self.release()
        return None

    def keep(self, key: str, number: int, chunks: Sequence[bytes], budget: TransferBudget) -> None:
        """Replace the cached block, if there is room."""
        if self._name == (key, number):
            return
        self.release()
        size_bytes = sum(map(len, chunks))
        if budget.has_room_for(size_bytes):
            budget.take(size_bytes)
            self._name, self._chunks = (key, number), chunks
            self._size_bytes, self._budget = size_bytes, budget

    def release(self) -> None:
        """Empty the cache."""
        if self._budget is not None:
            self._budget.give_back(self._size_bytes)
        self._name, self._chunks, self._budget = None, (), None
