"""The export double for tests on virtual time passes the same contract."""

from __future__ import annotations

import pytest

from contracts.export import DestinationContract
from support.memory_destination import MemoryDestination


class MemoryDestinationBackdoor:
    """Its content."""

    def __init__(self, shelf: MemoryDestination) -> None:
        self._shelf = shelf

    async def names(self) -> set[str]:
        """Names of files and of unfinished ones."""
        return {*self._shelf.files, *self._shelf.unfinished}

    async def read_raw(self, name: str) -> bytes | None:
        """The bytes of a file."""
        return self._shelf.files.get(name)

    async def plant(self, name: str, data: bytes) -> None:
        """Another program's file."""
        self._shelf.files[name] = data

    async def write_unfinished(self, name: str, data: bytes) -> None:
        """What a crash leaves."""
        self._shelf.unfinished[name] = data


class TestShelf(DestinationContract):
    """The whole contract."""

    @pytest.fixture
    def destination(self) -> MemoryDestination:
        """Empty."""
        return MemoryDestination()

    @pytest.fixture
    def door(self, destination: MemoryDestination) -> MemoryDestinationBackdoor:
        """A back door to it."""
        return MemoryDestinationBackdoor(destination)
