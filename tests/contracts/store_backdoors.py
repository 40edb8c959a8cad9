"""Back doors: access to a store's data without the store, so that no test trusts what it tests."""

from __future__ import annotations

from typing import Protocol


class StoreBackdoor(Protocol):
    """Puts bytes where the store looks for them, and reads where it should have written."""

    async def plant(self, key: str, data: bytes) -> None:
        """Insert a complete blob."""
        ...

    async def write_unfinished(self, key: str, data: bytes) -> None:
        """Insert what a crash leaves of a write."""
        ...

    async def write_foreign(self) -> None:
        """Insert foreign files or objects, wherever they may occur."""
        ...

    async def read_raw(self, key: str) -> bytes | None:
        """The bytes of a complete blob."""
        ...
