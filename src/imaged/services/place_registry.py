"""Identifies places: compares their markers with the catalog, and writes those of new places.

The catalog chooses the id of a new place, so that two instances that start at the same time write
the same marker. A process that dies between the two steps leaves a place that is known but not
marked yet; the next process marks it.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID, uuid4

import structlog

from imaged.core.errors import WrongPlace
from imaged.core.place_marker import (
    Marker,
    Place,
    PlaceContents,
    PlaceKind,
    PlaceObservation,
    PlaceState,
    place_state,
    why_not_adopted,
    why_place_refused,
)
from imaged.ports.catalog import PlaceCatalog
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
        sight = await self._look(place)
        if sight.marker is None:
            return await self._mark(place, store)
        if is_cataloged(place) and (sight.known is None or not sight.known.is_marked):
            await self._catalog.replace_place(_known(place, sight.marker))
        return sight.marker

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
        if is_cataloged(place):
            await self._catalog.replace_place(_known(place, marker, is_marked=False))
        await place.write_marker(marker, replace=True)
        if is_cataloged(place):
            await self._catalog.replace_place(_known(place, marker))
        log.info("place.marked", kind=place.kind, name=place.name, where=place.where)
        return marker

    async def _look(self, place: MarkedPlace) -> PlaceObservation:
        """Read the marker of a place and its record. Raises WrongPlace if it must not be used."""
        known = [one for one in await self._catalog.list_places() if _is_of(one, place)]
        sight = PlaceObservation(
            place.kind,
            place.name,
            place.where,
            await place.read_marker(),
            known[0] if known and is_cataloged(place) else None,
            await self._catalog.get_id(),
        )
        if why := why_place_refused(sight):
            raise WrongPlace(place.name, why)
        return sight

    async def _mark(self, place: MarkedPlace, store: Store | None) -> Marker:
        contents = await self._require_adoptable(place, store)
        marker = await self._new_marker(place, uuid4())
        if is_cataloged(place):
            known = await self._catalog.add_place(_known(place, marker, is_marked=False))
            marker = await self._new_marker(place, known.place_id)
        written = await place.write_marker(marker)
        if (written.place_id, written.catalog_id) != (marker.place_id, marker.catalog_id):
            return await self.identify(place, store)  # another process was faster
        if is_cataloged(place):
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


def is_cataloged(place: MarkedPlace) -> bool:
    """Whether the catalog has a record of it. A scratch folder belongs to one machine, and its
    content is not needed after a restart.
    """
    return place.kind is not PlaceKind.SCRATCH


def _is_of(known: Place, place: MarkedPlace) -> bool:
    return (known.kind, known.name) == (place.kind, place.name)


def _known(place: MarkedPlace, marker: Marker, *, is_marked: bool = True) -> Place:
    return Place(place.kind, place.name, marker.place_id, place.where, is_marked)
