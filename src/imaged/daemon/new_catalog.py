"""Guards against a new catalog beside stores that hold data, and lists configured places."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imaged.catalogs import connect
from imaged.config import Config
from imaged.core.errors import ImagedError
from imaged.core.place_marker import PlaceKind
from imaged.daemon.places import build_store, build_stores, open_destination, open_destinations
from imaged.daemon.settings import password_file
from imaged.daemon.task_types import scratch_place
from imaged.ports.place import MarkedPlace
from imaged.ports.store import Store
from imaged.services.place_registry import PlaceInventory, require_nothing_held, take_inventory


async def require_empty_stores(config: Config) -> None:
    """Check that no store holds data or the marker of another catalog, if the catalog is new.

    Raises CatalogMissing with a remedy; StoreError, CatalogError.
    """
    holdings = await inspect_stores(config)
    if await connect.is_new(config.catalog.url, password_file(config)):  # not created meanwhile
        require_nothing_held(connect.without_password(config.catalog.url), holdings)


async def inspect_stores(config: Config) -> list[PlaceInventory]:
    """Return what each store holds; read-only. Raises StoreError."""
    async with build_stores(config.stores) as stores:
        return [await take_inventory(store.place, store) for store in stores.values()]


@asynccontextmanager
async def open_place(
    config: Config, kind: str, name: str
) -> AsyncIterator[tuple[MarkedPlace, Store | None]]:
    """Open a place by its kind and name, with the store in it, if it is one.

    Raises UnknownPlace; StoreError or ExportError if its keys cannot be read.
    """
    match PlaceKind(kind):
        case PlaceKind.STORE if name in config.stores.by_name:
            async with build_store(name, config.stores.by_name[name]) as store:
                yield store.place, store
        case PlaceKind.EXPORTS if name in config.exports.by_name:
            async with open_destination(name, config.exports.by_name[name]) as destination:
                yield destination.place, None
        case PlaceKind.SCRATCH if name == "scratch":
            yield scratch_place(config), None
        case _:
            raise UnknownPlace(kind, name)


class UnknownPlace(ImagedError):
    """The configuration has no place of this kind and name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"The configuration has no {kind} with the name {name!r}.")


@asynccontextmanager
async def all_places(config: Config) -> AsyncIterator[list[MarkedPlace]]:
    """Open the places of all stores and exports, and the scratch folder if it exists."""
    async with build_stores(config.stores) as stores, open_destinations(config.exports) as exports:
        places = [store.place for store in stores.values()]
        places += [destination.place for destination in exports.values()]
        if config.conversion.scratch.is_dir():
            places.append(scratch_place(config))
        yield places
