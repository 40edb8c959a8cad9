"""A block that was read for a range is kept for the next range on the same connection.

A client that reads 64 KiB at a time asks for parts of one block of 4 MiB sixty-four times; without
this, each time the whole block would be read and verified again. A connection keeps one block at
most, and only while there is much room in the transfer budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from imaged.services.transfer_budget import TransferBudget

#: Under this name, the ``state`` of an ASGI scope has that of the connection.
BLOCK_CACHE = "kept_block"


class BlockCache:
    """The block of one connection. Its bytes count as in flight while they are kept."""

    def __init__(self) -> None:
        self._name: tuple[str, int] | None = None
        self._chunks: Sequence[bytes] = ()
        self._size_bytes = 0
        self._budget: TransferBudget | None = None

    def take(self, key: str, number: int) -> Sequence[bytes] | None:
        """The chunks of this block of a blob, if it is the one that is kept; else nothing is kept
        any more.
        """
        if self._name == (key, number):
            return self._chunks
        self.release()
        return None

    def keep(self, key: str, number: int, chunks: Sequence[bytes], budget: TransferBudget) -> None:
        """Keep this block instead, if there is room for it."""
        if self._name == (key, number):
            return
        self.release()
        size_bytes = sum(map(len, chunks))
        if budget.has_room_for(size_bytes):
            budget.take(size_bytes)
            self._name, self._chunks = (key, number), chunks
            self._size_bytes, self._budget = size_bytes, budget

    def release(self) -> None:
        """Keep nothing any more."""
        if self._budget is not None:
            self._budget.give_back(self._size_bytes)
        self._name, self._chunks, self._budget = None, (), None
