"""Back doors: access to a store's data without the store, so that no test trusts what it tests."""

from __future__ import annotations

from typing import Protocol


class Backdoor(Protocol):
    """Puts bytes where a driver looks for them, and reads where it should have written."""

    async def plant(self, key: str, data: bytes) -> None:
        """Insert complete bytes, as another program does."""
        ...

    async def write_unfinished(self, key: str, data: bytes) -> None:
        """Insert what a crash leaves of a write."""
        ...

    async def read_raw(self, key: str) -> bytes | None:
        """Complete bytes."""
        ...


class StoreBackdoor(Backdoor, Protocol):
    """To a store."""

    async def write_foreign(self) -> None:
        """Insert foreign files or objects, wherever they may occur."""
        ...
