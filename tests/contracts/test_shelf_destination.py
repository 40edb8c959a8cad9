"""The destination that tests on virtual time use sits the same exam."""

from __future__ import annotations

import pytest

from contracts.destination import DestinationContract
from support.shelf import Shelf


class ShelfDoor:
    """What is in it."""

    def __init__(self, shelf: Shelf) -> None:
        self._shelf = shelf

    async def names(self) -> set[str]:
        """Files, and what is none yet."""
        return {*self._shelf.files, *self._shelf.unfinished}

    async def dig(self, name: str) -> bytes | None:
        """The bytes of a file."""
        return self._shelf.files.get(name)

    async def plant(self, name: str, data: bytes) -> None:
        """A file that somebody else made."""
        self._shelf.files[name] = data

    async def plant_unfinished(self, name: str, data: bytes) -> None:
        """What a crash leaves."""
        self._shelf.unfinished[name] = data


class TestShelf(DestinationContract):
    """Everything."""

    @pytest.fixture
    def destination(self) -> Shelf:
        """Empty."""
        return Shelf()

    @pytest.fixture
    def door(self, destination: Shelf) -> ShelfDoor:
        """A back door to it."""
        return ShelfDoor(destination)
