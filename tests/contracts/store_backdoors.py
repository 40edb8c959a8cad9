"""Back doors: ways into a store that go past it, so that no test trusts what it tests."""

from __future__ import annotations

from typing import Protocol


class StoreBackdoor(Protocol):
    """Puts bytes where the store will look for them, and looks where it should have put some."""

    async def plant(self, key: str, data: bytes) -> None:
        """A whole blob appears."""
        ...

    async def write_unfinished(self, key: str, data: bytes) -> None:
        """What a crash leaves of a write appears."""
        ...

    async def write_foreign(self) -> None:
        """Things of others appear, in all places where they may lie about."""
        ...

    async def read_raw(self, key: str) -> bytes | None:
        """The bytes of a whole blob."""
        ...
