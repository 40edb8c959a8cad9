"""The drivers of one process: the catalog, the stores and the destinations, open and checked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imaged.catalogs import opening
from imaged.catalogs.database import Database
from imaged.catalogs.journal import JournaledCatalog
from imaged.catalogs.measured import MeasuredDatabase
from imaged.catalogs.sql import SqlCatalog
from imaged.config import Config
from imaged.daemon import settings
from imaged.daemon.destinations import open_destinations
from imaged.daemon.new_catalog import require_no_data
from imaged.daemon.places import build_stores, open_stores
from imaged.lanes import LaneFactory, QuietLane, ThreadLane
from imaged.ports.catalog import Catalog
from imaged.ports.export import Destination
from imaged.ports.meter import Meter
from imaged.ports.store import Stores
from imaged.services.marked_places import MarkedDestination
from imaged.services.places import Places
from imaged.telemetry.outages import watch_catalog, watch_store

if TYPE_CHECKING:  # commands measure nothing, and do not load what would
    from imaged.metrics.instruments import Instruments


@dataclass(frozen=True, slots=True)
class Parts:
    """The drivers, open and checked."""

    catalog: Catalog
    stores: Stores
    database: Database  # behind the catalog
    destinations: Mapping[str, Destination]  # of exports
    places: Places


@asynccontextmanager
async def open_parts(
    config: Config, instruments: Instruments | None = None, *, some_may_be_down: bool = False
) -> AsyncIterator[Parts]:
    """Open the catalog and the stores, and make sure that they can be used and belong together;
    with instruments, both are measured. ``some_may_be_down``: stores that are stop nothing.

    Raises StoreError, WrongPlace, ExportError and CatalogError with what to do.
    """
    measure_store = measure_catalog = None
    if instruments is not None:
        measure_store = partial(_measure_store, instruments)
        measure_catalog = watch_catalog(instruments.catalog)
    async with (
        build_stores(config.stores, lanes_of(config)) as built,
        open_destinations(config.exports) as destinations,
        _open_catalog(config, measure_catalog) as catalog,
    ):
        places = Places(catalog)
        yield Parts(
            _journaled(catalog, instruments),
            await open_stores(
                config.stores, built, places, measure_store, some_may_be_down=some_may_be_down
            ),
            catalog.database,
            {
                name: MarkedDestination(destination, destination.place, places)
                for name, destination in destinations.items()
            },
            places,
        )


def _journaled(catalog: Catalog, instruments: Instruments | None) -> Catalog:
    if instruments is None:
        return JournaledCatalog(catalog)
    return JournaledCatalog(catalog, task_hook=instruments.tasks.changed)


def _measure_store(instruments: Instruments, name: str) -> Meter:
    return watch_store(name, instruments.stores.of(name))


@asynccontextmanager
async def open_catalog(config: Config) -> AsyncIterator[Catalog]:
    """Open the catalog. Raises CatalogError; CatalogTooOld where it is not migrated by itself;
    CatalogMissing where a new one would be made over stores that hold data.
    """
    async with _open_catalog(config) as catalog:
        yield JournaledCatalog(catalog)


@asynccontextmanager
async def _open_catalog(config: Config, meter: Meter | None = None) -> AsyncIterator[SqlCatalog]:
    if opening.is_missing(config.catalog.url):
        await require_no_data(config)
    catalog = await opening.open_catalog(config.catalog.url, settings.password_file(config))
    if meter is not None:
        catalog = SqlCatalog(MeasuredDatabase(catalog.database, meter))
    try:
        yield catalog
    finally:
        await catalog.close()


def lanes_of(config: Config) -> LaneFactory:
    """How the bytes that this process writes take their way."""
    return QuietLane if config.daemon.only_works else ThreadLane
