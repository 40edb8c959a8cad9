"""Destinations of exports, and the scratch folder, used only where they are the right places.

Machines begin their work also where an archive cannot be reached, so a place is compared with the
catalog when it is needed first, and with its marker each time.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import anyio

from imaged.core.block import Block
from imaged.core.errors import ExportError, ScratchError, StoreError
from imaged.ports.export import Destination, ExportFile
from imaged.ports.place import MarkedPlace
from imaged.ports.scratch import Scratch, ScratchFolder
from imaged.services.place_registry import PlaceRegistry


class PlaceVerifier:
    """Lets nobody pass where the place is not the right one."""

    def __init__(self, place: MarkedPlace, places: PlaceRegistry) -> None:
        self._place = place
        self._places = places
        self._is_identified = False
        self._lock = anyio.Lock()

    async def require(self) -> None:
        """Raises WrongPlace, StoreError, CatalogError."""
        async with self._lock:
            if not self._is_identified:
                self._place.expect(await self._places.identify(self._place))
                self._is_identified = True
        await self._place.require_expected()


class MarkedDestination:
    """Is a ``Destination``: the one within, where it is the right one."""

    def __init__(self, within: Destination, place: MarkedPlace, places: PlaceRegistry) -> None:
        self.name = within.name
        self.has_own_timeout = within.has_own_timeout
        self._within = within
        self._verifier = PlaceVerifier(place, places)

    def location_of(self, file_name: str) -> str:
        """Where a file of this name is, for people."""
        return self._within.location_of(file_name)

    async def check(self) -> None:
        """Try everything that will be needed. Raises ExportError with what to do."""
        await self._require()
        await self._within.check()

    async def has(self, file_name: str) -> bool:
        """Whether something of this name is there."""
        return await self._within.has(file_name)

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether the file is there because of this task."""
        await self._require()
        return await self._within.has_delivered(export_file)

    async def deliver(
        self,
        export_file: ExportFile,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
    ) -> int:
        """Write a file; its size in bytes. Raises what the port says."""
        await self._require()
        return await self._within.deliver(export_file, blocks, expected_bytes)

    def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of a file that was delivered."""
        return self._within.read(file_name)

    async def leftovers(self) -> Collection[str]:
        """The ids of the tasks that left something here."""
        await self._require()
        return await self._within.leftovers()

    async def remove(self, task_id: str) -> None:
        """Remove that."""
        await self._require()
        await self._within.remove(task_id)

    async def close(self) -> None:
        """Let go of connections."""
        await self._within.close()

    async def _require(self) -> None:
        try:
            await self._verifier.require()
        except StoreError as error:
            raise ExportError(self.name, error.why) from error


class MarkedScratch:
    """Is a ``Scratch``: the one within, where it is the right one."""

    def __init__(self, within: Scratch, place: MarkedPlace, places: PlaceRegistry) -> None:
        self._within = within
        self._where = place.where
        self._verifier = PlaceVerifier(place, places)

    @asynccontextmanager
    async def folder(self, attempt: UUID) -> AsyncIterator[ScratchFolder]:
        """Files for this attempt; they are gone afterwards. Raises ScratchError."""
        with self._explained():
            await self._verifier.require()
        async with self._within.folder(attempt) as folder:
            yield folder

    async def attempts(self) -> Collection[UUID]:
        """The attempts that have files here. Raises ScratchError.

        Where there are none, nothing is asked: the folder may be missing where nobody converts.
        """
        if found := await self._within.attempts():
            with self._explained():
                await self._verifier.require()
        return found

    async def remove(self, attempt: UUID) -> None:
        """Remove the files of an attempt that is over. Raises ScratchError."""
        with self._explained():
            await self._verifier.require()
        await self._within.remove(attempt)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise ScratchError(self._where, error.why) from error
