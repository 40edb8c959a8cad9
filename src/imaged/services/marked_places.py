"""Places with markers: stores, export destinations and the scratch folder.

A place is identified by comparing its marker with the catalog. The catalog chooses the id of a new
place, so that two instances that start at the same time write the same marker. A process that dies
between the two steps leaves a place that is known but not marked yet; the next process marks it.

An instance also starts while an archive is unreachable, so a destination or the scratch folder is
compared with the catalog at its first use, and with its marker at each use.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

import anyio
import structlog

from imaged.core.block import Blocks
from imaged.core.errors import ExportError, ScratchError, StoreError, WrongPlace
from imaged.core.place_marker import (
    Marker,
    Place,
    PlaceContents,
    PlaceKind,
    PlaceObservation,
    PlaceState,
    is_same_place,
    place_state,
    why_not_adopted,
    why_place_refused,
)
from imaged.ports.catalog import PlaceCatalog
from imaged.ports.disk_image import Scratch, ScratchFolder
from imaged.ports.export import Destination, ExportFile
from imaged.ports.image_catalog import BlobCatalog
from imaged.ports.place import MarkedPlace
from imaged.ports.store import Store

log = structlog.get_logger()

BLOB_SAMPLE_SIZE = 1000  # blobs of a store without a marker that are compared with the catalog


class PlaceAndBlobCatalog(PlaceCatalog, BlobCatalog, Protocol):
    """Known places, and the blobs expected in them."""


class PlaceRegistry:
    """Compares places with one catalog."""

    def __init__(self, catalog: PlaceAndBlobCatalog) -> None:
        self._catalog = catalog

    async def identify(self, place: MarkedPlace, store: Store | None = None) -> Marker:
        """The marker of a place that belongs to the catalog; it is written if the place is new.

        ``store``: the store that keeps blobs in it. Raises WrongPlace, StoreError, CatalogError.
        """
        observed = await self._look(place)
        if observed.marker is None:
            return await self._mark(place, store)
        if _is_cataloged(place) and (observed.known is None or not observed.known.is_marked):
            await self._catalog.replace_place(_known(place, observed.marker))
        return observed.marker

    async def examine(self, place: MarkedPlace, store: Store | None = None) -> PlaceState:
        """The result of ``identify`` without changing anything. Raises the same errors."""
        verdict = place_state(await self._look(place))
        if verdict is PlaceState.UNMARKED:
            await self._require_adoptable(place, store)
        return verdict

    async def expected_marker(self, place: MarkedPlace) -> Marker | None:
        """The marker that the catalog expects in a place known as marked; otherwise None.

        Raises CatalogError.
        """
        known = [one for one in await self._catalog.list_places() if _is_of(one, place)]
        if not known or not known[0].is_marked:
            return None
        return await self._new_marker(place, known[0].place_id)

    async def adopt(self, place: MarkedPlace) -> Marker:
        """Take a place over on purpose, whatever it contains. Raises StoreError, CatalogError."""
        marker = await self._new_marker(place, uuid4())
        if _is_cataloged(place):
            await self._catalog.replace_place(_known(place, marker, is_marked=False))
        await place.write_marker(marker, replace=True)
        if _is_cataloged(place):
            await self._catalog.replace_place(_known(place, marker))
        log.info("place.marked", kind=place.kind, name=place.name, where=place.where)
        return marker

    async def _look(self, place: MarkedPlace) -> PlaceObservation:
        """Read the marker of a place and its record. Raises WrongPlace if it must not be used."""
        known = [one for one in await self._catalog.list_places() if _is_of(one, place)]
        observed = PlaceObservation(
            place.kind,
            place.name,
            place.where,
            await place.read_marker(),
            known[0] if known and _is_cataloged(place) else None,
            await self._catalog.get_id(),
        )
        if why := why_place_refused(observed):
            raise WrongPlace(place.name, why)
        return observed

    async def _mark(self, place: MarkedPlace, store: Store | None) -> Marker:
        contents = await self._require_adoptable(place, store)
        marker = await self._new_marker(place, uuid4())
        if _is_cataloged(place):
            known = await self._catalog.add_place(_known(place, marker, is_marked=False))
            marker = await self._new_marker(place, known.place_id)
        written = await place.write_marker(marker)
        if not is_same_place(written, marker):
            return await self.identify(place, store)  # another process was faster
        if _is_cataloged(place):
            await self._catalog.replace_place(_known(place, written))
        if contents.found:
            log.info("place.marked", kind=place.kind, name=place.name, where=place.where)
        else:
            log.debug("place.marked", kind=place.kind, name=place.name, where=place.where)
        return written

    async def _require_adoptable(self, place: MarkedPlace, store: Store | None) -> PlaceContents:
        contents = PlaceContents() if store is None else await self._contents(store)
        if why := why_not_adopted(place.kind, place.name, place.where, contents):
            raise WrongPlace(place.name, why)
        return contents

    async def _contents(self, store: Store) -> PlaceContents:
        found: dict[str, set[str]] = defaultdict(set)  # by the first part of the key
        count = 0
        async for key in store.list_keys():
            found[key[:3]].add(key)
            count += 1
            if count >= BLOB_SAMPLE_SIZE:
                break
        recognised = 0
        for prefix, keys in found.items():
            recognised += len(keys & {*await self._catalog.list_keys(store.name, prefix)})
        expected = 0 if count else len(await self._catalog.list_kept(store.name))
        return PlaceContents(count, recognised, expected)

    async def _new_marker(self, place: MarkedPlace, place_id: UUID) -> Marker:
        catalog_id = await self._catalog.get_id()
        return Marker(place_id, catalog_id, place.kind, place.name, datetime.now(UTC))


def _is_cataloged(place: MarkedPlace) -> bool:
    """Whether the catalog has a record of it. A scratch folder belongs to one machine, and its
    content is not needed after a restart.
    """
    return place.kind is not PlaceKind.SCRATCH


def _is_of(known: Place, place: MarkedPlace) -> bool:
    return (known.kind, known.name) == (place.kind, place.name)


def _known(place: MarkedPlace, marker: Marker, *, is_marked: bool = True) -> Place:
    return Place(place.kind, place.name, marker.place_id, place.where, is_marked)


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
        self, export_file: ExportFile, blocks: Blocks, expected_bytes: int | None = None
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
