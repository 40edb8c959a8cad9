"""The stores of one process: built by their kinds, identified, rehearsed, and closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

import structlog

from imaged.catalogs.opening import unchanged_catalog
from imaged.config import Config
from imaged.config.stores import FilesystemSection, S3Section, StoresSection
from imaged.core.errors import StoreError, StoreFull
from imaged.daemon.settings import filesystem_settings, password_file, s3_settings
from imaged.lanes import LaneFactory, ThreadLane
from imaged.ports.abilities import Closing, Rehearsing
from imaged.ports.meter import Meter
from imaged.ports.place import MarkedPlace
from imaged.ports.store import Store, Stores
from imaged.services.places import Places
from imaged.stores.filesystem import FilesystemStore
from imaged.stores.measured import measure_store

log = structlog.get_logger()


def log_lack(lack: StoreError) -> None:
    """Write down what a store lacks."""
    if isinstance(lack, StoreFull):
        log.warning("store.full", store=lack.store, error=str(lack))
    else:
        log.warning("store.lacks", store=lack.store, error=str(lack))


class PlacedStore(Store, Protocol):
    """A store in a place that bears a marker."""

    @property
    def place(self) -> MarkedPlace:
        """The place."""
        ...


@asynccontextmanager
async def build_stores(
    section: StoresSection, lanes: LaneFactory = ThreadLane
) -> AsyncIterator[Mapping[str, PlacedStore]]:
    """All that are configured, by name; nothing is tried yet. Raises StoreError."""
    async with AsyncExitStack() as built:
        yield {
            name: await built.enter_async_context(build_store(name, store, lanes))
            for name, store in section.by_name.items()
        }


@asynccontextmanager
async def build_store(
    name: str, section: FilesystemSection | S3Section, lanes: LaneFactory = ThreadLane
) -> AsyncIterator[PlacedStore]:
    """One of them. Raises StoreError where its keys cannot be read."""
    store = _build(name, section, lanes)
    try:
        yield store
    finally:
        if isinstance(store, Closing):
            await store.close()


async def open_stores(
    section: StoresSection,
    built: Mapping[str, PlacedStore],
    places: Places,
    meter_of: Callable[[str], Meter] | None = None,
    *,
    some_may_be_down: bool = False,
) -> Stores:
    """Those that were built, each identified and tried as far as can be; with ``meter_of``,
    measured. ``some_may_be_down``: a store that is, or has the wrong place, is taken as the catalog
    knows it; each call refuses until it is right.

    Raises StoreError with what to do, WrongPlace, CatalogError.
    """
    for store in built.values():
        try:
            await _open_store(store, places)
        except StoreError as error:
            marker = await places.recall(store.place) if some_may_be_down else None
            if marker is None:
                raise
            store.place.expect(marker)
            log.error(  # noqa: TRY400 - no crash
                "store.degraded", store=store.name, operation="open", failures=1, error=str(error)
            )
    by_name: dict[str, Store] = {**built}
    if meter_of is not None:
        by_name = {name: measure_store(store, meter_of(name)) for name, store in by_name.items()}
    return Stores(section.default, by_name)


async def _open_store(store: PlacedStore, places: Places) -> None:
    try:
        store.place.expect(await places.identify(store.place, store))
    except StoreFull as error:  # for its marker too: it is written at a later start
        log_lack(error)
    await try_store(store)


async def try_store(store: Store, on_lack: Callable[[StoreError], None] = log_lack) -> None:
    """Try everything that will be needed. Raises StoreError with what to do.

    ``on_lack`` is told what it lacks although it can be used.
    """
    if isinstance(store, Rehearsing):
        for lack in await store.rehearse():
            on_lack(lack)
    else:
        await store.check()


@asynccontextmanager
async def known_places(config: Config) -> AsyncIterator[Places | None]:
    """Whose places are whose, for those who only look; None where the catalog would have to be
    made or migrated first.

    Raises CatalogError.
    """
    async with unchanged_catalog(config.catalog.url, password_file(config)) as catalog:
        yield None if catalog is None else Places(catalog)


def _build(name: str, section: FilesystemSection | S3Section, lanes: LaneFactory) -> PlacedStore:
    match section:
        case FilesystemSection():
            return FilesystemStore(name, filesystem_settings(section), lanes=lanes)
        case S3Section():
            from imaged.stores.s3 import S3Store  # only here: its libraries are large

            return S3Store(name, s3_settings(name, section))
