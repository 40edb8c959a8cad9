"""Export destinations and the scratch folder, used only if their markers are the expected ones.

An instance also starts while an archive is unreachable, so a place is compared with the catalog at
its first use, and with its marker at each use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from uuid import UUID

import anyio

from imaged.core.block import Block
from imaged.core.errors import ExportError, ScratchError, StoreError
from imaged.ports.conversion import Scratch, ScratchFolder
from imaged.ports.export import Destination, ExportFile
from imaged.ports.place import MarkedPlace
from imaged.services.place_registry import PlaceRegistry


class PlaceVerifier:
    """Refuses the use of a wrong place."""

    def __init__(self, place: MarkedPlace, places: PlaceRegistry) -> None:
        self._place = place
        self._places = places
        self._is_identified = False
        self._lock = anyio.Lock()

    async def require(self) -> None:
        """Raise WrongPlace, StoreError or CatalogError unless the place is the expected one."""
        async with self._lock:
            if not self._is_identified:
                self._place.expect(await self._places.identify(self._place))
                self._is_identified = True
        await self._place.require_expected()


class MarkedDestination:
    """A ``Destination`` that checks the marker before each call to the one within."""

    def __init__(self, within: Destination, place: MarkedPlace, places: PlaceRegistry) -> None:
        self.name = within.name
        self.has_own_timeout = within.has_own_timeout
        self._within = within
        self._verifier = PlaceVerifier(place, places)

    def location_of(self, file_name: str) -> str:
        """The location of a file of this name, for people."""
        return self._within.location_of(file_name)

    async def check(self) -> None:
        """Try every operation that will be needed. Raises ExportError with a remedy."""
        await self._require()
        await self._within.check()

    async def has(self, file_name: str) -> bool:
        """Whether a file of this name exists."""
        return await self._within.has(file_name)

    async def has_delivered(self, export_file: ExportFile) -> bool:
        """Whether this task delivered the file."""
        await self._require()
        return await self._within.has_delivered(export_file)

    async def deliver(
        self,
        export_file: ExportFile,
        blocks: AsyncIterable[Block],
        expected_bytes: int | None = None,
    ) -> int:
        """Write a file; return its size in bytes. Raises the errors of the port."""
        await self._require()
        return await self._within.deliver(export_file, blocks, expected_bytes)

    def read(self, file_name: str) -> AsyncGenerator[bytes]:
        """The bytes of a delivered file."""
        return self._within.read(file_name)

    async def leftovers(self) -> Collection[str]:
        """The ids of the tasks that left files here."""
        await self._require()
        return await self._within.leftovers()

    async def remove(self, task_id: str) -> None:
        """Remove the leftovers of a task."""
        await self._require()
        await self._within.remove(task_id)

    async def close(self) -> None:
        """Close connections."""
        await self._within.close()

    async def _require(self) -> None:
        try:
            await self._verifier.require()
        except StoreError as error:
            raise ExportError(self.name, error.why) from error


class MarkedScratch:
    """A ``Scratch`` that checks the marker before each call to the one within."""

    def __init__(self, within: Scratch, place: MarkedPlace, places: PlaceRegistry) -> None:
        self._within = within
        self._where = place.where
        self._verifier = PlaceVerifier(place, places)

    @asynccontextmanager
    async def folder(self, attempt: UUID) -> AsyncIterator[ScratchFolder]:
        """Files for this attempt; they are removed at the end. Raises ScratchError."""
        with self._explained():
            await self._verifier.require()
        async with self._within.folder(attempt) as folder:
            yield folder

    async def attempts(self) -> Collection[UUID]:
        """The attempts that have files here. Raises ScratchError.

        Without files the marker is not checked: the folder may be missing if no tasks use it.
        """
        if found := await self._within.attempts():
            with self._explained():
                await self._verifier.require()
        return found

    async def remove(self, attempt: UUID) -> None:
        """Remove the files of an attempt that has ended. Raises ScratchError."""
        with self._explained():
            await self._verifier.require()
        await self._within.remove(attempt)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise ScratchError(self._where, error.why) from error
