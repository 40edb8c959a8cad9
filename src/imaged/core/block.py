"""A block: consecutive chunks of a body, about 1 MiB in total, passed through the lanes.

The chunks stay as they were received, because joining them would copy every byte once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


class Block:
    """Chunks in order. ``on_release`` is called with the size when the last reference is
    dropped.
    """

    __slots__ = ("_on_release", "chunks", "size_bytes")

    def __init__(
        self,
        chunks: Sequence[bytes],
        size_bytes: int | None = None,
        on_release: Callable[[int], None] | None = None,
    ) -> None:
        self.chunks = chunks
        self.size_bytes = sum(map(len, chunks)) if size_bytes is None else size_bytes
        self._on_release = on_release

    def __del__(self) -> None:
        """Report the released bytes to the transfer budget. May run in any thread."""
        if self._on_release is not None:
            self._on_release(self.size_bytes)
