"""The stores of one process: built by their kinds, rehearsed, and closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from imaged.config.stores import FilesystemSection, S3Section, StoresSection
from imaged.core.errors import StoreError, StoreFull
from imaged.daemon.settings import filesystem_settings, s3_settings
from imaged.lanes import LaneFactory, ThreadLane
from imaged.ports.abilities import Closing, Rehearsing
from imaged.ports.meter import Meter
from imaged.ports.store import Store, Stores
from imaged.stores.filesystem import FilesystemStore
from imaged.stores.measured import measure_store

log = structlog.get_logger()


def log_lack(lack: StoreError) -> None:
    """Write down what a store lacks."""
    if isinstance(lack, StoreFull):
        log.warning("store.full", store=lack.store, error=str(lack))
    else:
        log.warning("store.lacks", store=lack.store, error=str(lack))


@asynccontextmanager
async def open_stores(
    section: StoresSection,
    meter_of: Callable[[str], Meter] | None = None,
    lanes: LaneFactory = ThreadLane,
) -> AsyncIterator[Stores]:
    """All that are configured, each tried as far as can be; with ``meter_of``, measured.

    Raises StoreError with what to do.
    """
    async with AsyncExitStack() as opened:
        by_name = {
            name: await opened.enter_async_context(open_store(name, store, lanes))
            for name, store in section.by_name.items()
        }
        if meter_of is not None:
            by_name = {
                name: measure_store(store, meter_of(name)) for name, store in by_name.items()
            }
        yield Stores(section.default, by_name)


@asynccontextmanager
async def open_store(
    name: str,
    section: FilesystemSection | S3Section,
    lanes: LaneFactory = ThreadLane,
    on_lack: Callable[[StoreError], None] = log_lack,
) -> AsyncIterator[Store]:
    """One of them. Raises StoreError with what to do.

    ``on_lack`` is told what it lacks although it can be used.
    """
    store = _build(name, section, lanes)
    try:
        if isinstance(store, Rehearsing):
            for lack in await store.rehearse():
                on_lack(lack)
        else:
            await store.check()
        yield store
    finally:
        if isinstance(store, Closing):
            await store.close()


def _build(name: str, section: FilesystemSection | S3Section, lanes: LaneFactory) -> Store:
    match section:
        case FilesystemSection():
            return FilesystemStore(name, filesystem_settings(section), lanes=lanes)
        case S3Section():
            from imaged.stores.s3 import S3Store  # only here: its libraries are large

            return S3Store(name, s3_settings(name, section))
