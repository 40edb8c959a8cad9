"""Builds the configured places of one process, tests its stores, and closes them all.

Destinations are not tested at start: a machine must boot even if an archive is unreachable. The
sweeper reports a broken one soon (``services/tasks/cleanup.py``), and ``imaged check-config`` tests
them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import structlog

from imaged.catalogs.connect import open_if_current
from imaged.config import Config
from imaged.config.stores import (
    ExportsSection,
    FilesystemBaseSection,
    FilesystemSection,
    S3BaseSection,
    S3Section,
    StoresSection,
)
from imaged.core.errors import (
    ExportError,
    ExportKeyUnreadable,
    ImagedError,
    StoreError,
    StoreFull,
    StoreKeyUnreadable,
)
from imaged.core.place_marker import PlaceKind
from imaged.daemon.settings import filesystem_settings, password_file, s3_settings
from imaged.exports.filesystem import FilesystemExport
from imaged.lanes import LaneFactory, ThreadLane
from imaged.ports.export import Destination
from imaged.ports.meter import Meter
from imaged.ports.place import MarkedPlace
from imaged.ports.store import Closeable, SelfTesting, Store, Stores
from imaged.services.marked_places import PlaceRegistry
from imaged.stores.filesystem.disk import ThreadPool
from imaged.stores.filesystem.marker import FolderMarker
from imaged.stores.filesystem.store import FilesystemStore
from imaged.stores.metered import meter_store

log = structlog.get_logger()


class UnknownPlace(ImagedError):
    """The configuration has no place of this kind and name."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"The configuration has no {kind} with the name {name!r}.")


class PlacedStore(Store, Protocol):
    """A store whose place has a marker."""

    @property
    def place(self) -> MarkedPlace:
        """The marked place of the store."""
        ...


class PlacedDestination(Destination, Protocol):
    """A destination whose place has a marker."""

    @property
    def place(self) -> MarkedPlace:
        """The marked place of the destination."""
        ...


@asynccontextmanager
async def build_stores(
    section: StoresSection, lanes: LaneFactory = ThreadLane
) -> AsyncIterator[Mapping[str, PlacedStore]]:
    """Build all configured stores, by name, without testing them. Raises StoreError."""
    async with AsyncExitStack() as built:
        yield {
            name: await built.enter_async_context(build_store(name, store, lanes))
            for name, store in section.by_name.items()
        }


@asynccontextmanager
async def build_store(
    name: str, section: FilesystemSection | S3Section, lanes: LaneFactory = ThreadLane
) -> AsyncIterator[PlacedStore]:
    """Build one store. Raises StoreError if its keys cannot be read."""
    store = _build_store(name, section, lanes)
    try:
        yield store
    finally:
        if isinstance(store, Closeable):
            await store.close()


async def open_stores(
    section: StoresSection,
    built: Mapping[str, PlacedStore],
    places: PlaceRegistry,
    meter_of: Callable[[str], Meter] | None = None,
    *,
    allow_unavailable: bool = False,
) -> Stores:
    """Identify and test the stores; with ``meter_of``, measure them.

    ``allow_unavailable``: accept an unavailable or misplaced store with the marker that the
    catalog has; its calls fail until it is repaired.

    Raises StoreError with a remedy, WrongPlace, CatalogError.
    """
    for store in built.values():
        try:
            await _open_store(store, places)
        except StoreError as error:
            marker = await places.expected_marker(store.place) if allow_unavailable else None
            if marker is None:
                raise
            store.place.expect(marker)
            log.error(  # noqa: TRY400 - expected, without traceback
                "store.degraded", store=store.name, operation="open", error=str(error)
            )
    by_name: dict[str, Store] = {**built}
    if meter_of is not None:
        by_name = {name: meter_store(store, meter_of(name)) for name, store in by_name.items()}
    return Stores(section.default, by_name)


def log_store_warning(warning: StoreError) -> None:
    """Log a warning from the self-test of a store."""
    if isinstance(warning, StoreFull):
        log.warning("store.full", store=warning.store, error=str(warning))
    else:
        log.warning("store.lacks", store=warning.store, error=str(warning))


async def self_test_store(
    store: Store, on_warning: Callable[[StoreError], None] = log_store_warning
) -> None:
    """Test every operation that the daemon needs. Raises StoreError with a remedy.

    ``on_warning`` gets what a usable store lacks.
    """
    if isinstance(store, SelfTesting):
        for warning in await store.self_test():
            on_warning(warning)
    else:
        await store.check()


@asynccontextmanager
async def open_destinations(
    section: ExportsSection,
) -> AsyncIterator[Mapping[str, PlacedDestination]]:
    """Open all configured destinations. Raises ExportError if the keys of one cannot be read."""
    async with AsyncExitStack() as opened:
        yield {
            name: await opened.enter_async_context(open_destination(name, place))
            for name, place in section.by_name.items()
        }


@asynccontextmanager
async def open_destination(
    name: str, section: FilesystemBaseSection | S3BaseSection
) -> AsyncIterator[PlacedDestination]:
    """Open one destination. Raises ExportError if its keys cannot be read."""
    destination = _build_destination(name, section)
    try:
        yield destination
    finally:
        await destination.close()


async def examine_destination(places: PlaceRegistry, destination: PlacedDestination) -> None:
    """Check that the destination belongs to the catalog; read-only. Raises ExportError."""
    try:
        await places.examine(destination.place)
    except StoreError as error:
        raise ExportError(destination.name, error.why) from error


@asynccontextmanager
async def known_places(config: Config) -> AsyncIterator[PlaceRegistry | None]:
    """Open the registry of places read-only; None if the catalog must be created or migrated first.

    Raises CatalogError.
    """
    async with open_if_current(config.catalog.url, password_file(config)) as catalog:
        yield None if catalog is None else PlaceRegistry(catalog)


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


@asynccontextmanager
async def all_places(config: Config) -> AsyncIterator[list[MarkedPlace]]:
    """Open the places of all stores and exports, and the scratch folder if it exists."""
    async with build_stores(config.stores) as stores, open_destinations(config.exports) as exports:
        places = [store.place for store in stores.values()]
        places += [destination.place for destination in exports.values()]
        if config.conversion.scratch.is_dir():
            places.append(scratch_place(config))
        yield places


def scratch_place(config: Config) -> MarkedPlace:
    """Return the marked place of the scratch folder."""
    threads = ThreadPool("scratch", count=1)
    return FolderMarker(PlaceKind.SCRATCH, "scratch", config.conversion.scratch, threads)


async def _open_store(store: PlacedStore, places: PlaceRegistry) -> None:
    try:
        store.place.expect(await places.identify(store.place, store))
    except StoreFull as error:  # its marker is written at a later start
        log_store_warning(error)
    await self_test_store(store)


def _build_store(
    name: str, section: FilesystemSection | S3Section, lanes: LaneFactory
) -> PlacedStore:
    match section:
        case FilesystemSection():
            return FilesystemStore(name, filesystem_settings(section), lanes=lanes)
        case S3Section():
            from imaged.stores.s3.store import S3Store  # lazy: its libraries are large

            return S3Store(name, s3_settings(name, section))


def _build_destination(
    name: str, section: FilesystemBaseSection | S3BaseSection
) -> PlacedDestination:
    match section:
        case FilesystemBaseSection():
            return FilesystemExport(name, filesystem_settings(section))
        case S3BaseSection():
            from imaged.exports.s3 import S3Export  # lazy: its libraries are large

            try:
                return S3Export(name, s3_settings(name, section))
            except StoreKeyUnreadable as error:
                raise ExportKeyUnreadable(name, error.why) from error
