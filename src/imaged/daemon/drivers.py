"""Opens and checks the drivers of one process: the catalog, the stores and the destinations."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from imaged.catalogs import connect
from imaged.catalogs.change_log import ChangeLog
from imaged.catalogs.database import Database, MeteredDatabase
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.config import Config
from imaged.daemon import settings
from imaged.daemon.new_catalog import require_empty_stores
from imaged.daemon.places import build_stores, open_destinations, open_stores
from imaged.lanes import BackgroundLane, LaneFactory, ThreadLane
from imaged.ports.catalog import Catalog
from imaged.ports.export import Destination
from imaged.ports.meter import Meter
from imaged.ports.store import Stores
from imaged.services.marked_places import MarkedDestination, PlaceRegistry
from imaged.telemetry.outages import watch_catalog, watch_store

if TYPE_CHECKING:  # commands measure nothing and do not load Prometheus
    from imaged.metrics.instruments import Instruments


@dataclass(frozen=True, slots=True)
class Drivers:
    """Open and checked drivers."""

    catalog: Catalog
    stores: Stores
    database: Database  # behind the catalog
    destinations: Mapping[str, Destination]  # of exports
    places: PlaceRegistry


@asynccontextmanager
async def open_drivers(
    config: Config, instruments: Instruments | None = None, *, allow_unavailable: bool = False
) -> AsyncIterator[Drivers]:
    """Open the catalog and the stores, and check that they work and belong together.

    With ``instruments``, both are measured. ``allow_unavailable``: open without stores that fail.

    Raises StoreError, WrongPlace, ExportError and CatalogError with a remedy.
    """
    meter_store = None if instruments is None else partial(_measure_store, instruments)
    async with (
        build_stores(config.stores, lane_factory(config)) as built,
        open_destinations(config.exports) as destinations,
        open_catalog(config, instruments) as catalog,
    ):
        places = PlaceRegistry(catalog)
        yield Drivers(
            catalog,
            await open_stores(
                config.stores, built, places, meter_store, allow_unavailable=allow_unavailable
            ),
            catalog.database,
            {
                name: MarkedDestination(destination, destination.place, places)
                for name, destination in destinations.items()
            },
            places,
        )


def _measure_store(instruments: Instruments, name: str) -> Meter:
    return watch_store(name, instruments.stores.of(name))


@asynccontextmanager
async def open_catalog(
    config: Config, instruments: Instruments | None = None
) -> AsyncIterator[SqlCatalog]:
    """Open the catalog; with ``instruments`` it is measured.

    Raises CatalogError; CatalogTooOld if it is not migrated automatically; CatalogMissing if a new
    catalog would be created beside stores that hold data.
    """
    if connect.is_missing(config.catalog.url):
        await require_empty_stores(config)
    catalog = await connect.open_catalog(config.catalog.url, settings.password_file(config))
    if instruments is not None:
        measured = MeteredDatabase(catalog.database, watch_catalog(instruments.catalog))
        catalog = SqlCatalog(measured, ChangeLog(instruments.tasks.changed))
    try:
        yield catalog
    finally:
        await catalog.close()


def lane_factory(config: Config) -> LaneFactory:
    """Return the kind of lane that this process writes bytes through."""
    return BackgroundLane if config.daemon.is_worker_only else ThreadLane
