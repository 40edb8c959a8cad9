"""Guards against a new catalog beside stores that hold data."""

from __future__ import annotations

from dataclasses import dataclass

from imaged.catalogs import connect
from imaged.config import Config
from imaged.core.errors import CatalogMissing, MarkerRefused
from imaged.core.place_marker import Marker, PlaceKind
from imaged.daemon.places import build_stores
from imaged.daemon.settings import password_file
from imaged.ports.place import MarkedPlace
from imaged.ports.store import Store
from imaged.services.marked_places import BLOB_SAMPLE_SIZE
from imaged.units import pluralize


@dataclass(frozen=True, slots=True)
class PlaceInventory:
    """The content of a place, for people. ``blobs``: BLOB_SAMPLE_SIZE means at least this many."""

    place: MarkedPlace
    marker: Marker | None
    blobs: int
    unreadable: str = ""  # why the marker cannot be parsed

    def __bool__(self) -> bool:
        return self.marker is not None or bool(self.unreadable) or self.blobs > 0

    def __str__(self) -> str:
        blobs = pluralize(self.blobs, "blob") + (
            " or more" if self.blobs >= BLOB_SAMPLE_SIZE else ""
        )
        if self.marker is not None:
            whose = f"its marker names the catalog {self.marker.catalog_id}"
        else:
            whose = "its marker cannot be read" if self.unreadable else "it has no marker"
        kind, name, where = self.place.kind, self.place.name, self.place.where
        if kind is not PlaceKind.STORE:
            return f"{kind} {name!r} ({where}): {whose}"
        return f"the store {name!r} ({where}) holds {blobs}, and {whose}"


async def require_empty_stores(config: Config) -> None:
    """Check that no store holds data or the marker of another catalog, if the catalog is new.

    Raises CatalogMissing with a remedy; StoreError, CatalogError.
    """
    inventories = await inspect_stores(config)
    if await connect.is_new(config.catalog.url, password_file(config)):  # not created meanwhile
        require_nothing_held(connect.without_password(config.catalog.url), inventories)


async def inspect_stores(config: Config) -> list[PlaceInventory]:
    """Return what each store holds; read-only. Raises StoreError."""
    async with build_stores(config.stores) as stores:
        return [await take_inventory(store.place, store) for store in stores.values()]


async def take_inventory(place: MarkedPlace, store: Store | None = None) -> PlaceInventory:
    """The content of a place, without comparing it. Raises StoreError."""
    marker, unreadable = None, ""
    try:
        marker = await place.read_marker()
    except MarkerRefused as error:
        unreadable = error.why
    blobs = 0
    if store is not None:
        async for _ in store.list_keys():
            blobs += 1
            if blobs >= BLOB_SAMPLE_SIZE:
                break
    return PlaceInventory(place, marker, blobs, unreadable)


def require_nothing_held(catalog: str, inventories: list[PlaceInventory]) -> None:
    """Refuse to create a catalog over places that contain data. Raises CatalogMissing.

    ``catalog``: its location.
    """
    held = [str(inventory) for inventory in inventories if inventory]
    if held:
        raise CatalogMissing(
            f"There is no catalog in {catalog} (catalog.url), and none is made there, because a "
            f"new catalog knows none of the existing data: {'; '.join(held)}. Correct "
            "catalog.url, mount the catalog's disk, or restore the catalog from a backup. If you "
            "do want a new catalog over stores that hold images: `imaged migrate --new-catalog`."
        )
