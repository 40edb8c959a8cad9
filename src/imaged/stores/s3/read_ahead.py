"""The memory for bytes that the readers of a store fetch before they are asked for."""

from __future__ import annotations


class ReadAheadMemory:
    """Counts it. Nothing waits for it, so a reader that is slow delays no other."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.held_bytes = 0

    def try_take(self, size_bytes: int) -> bool:
        """Take memory if there is enough; returns whether there was."""
        if self.held_bytes + size_bytes > self.total_bytes:
            return False
        self.held_bytes += size_bytes
        return True

    def give_back(self, size_bytes: int) -> None:
        """Give memory back."""
        self.held_bytes -= size_bytes
