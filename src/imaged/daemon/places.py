"""The stores of one process: built by their kinds, rehearsed, and closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from imaged.config.stores import FilesystemSection, S3Section, StoresSection
from imaged.daemon.settings import filesystem_settings, s3_settings
from imaged.lanes import LaneFactory, ThreadLane
from imaged.ports.abilities import Closing, Rehearsing
from imaged.ports.meter import Meter
from imaged.ports.store import Store, Stores
from imaged.stores.filesystem import FilesystemStore
from imaged.stores.measured import measure_store


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
    name: str, section: FilesystemSection | S3Section, lanes: LaneFactory = ThreadLane
) -> AsyncIterator[Store]:
    """One of them. Raises StoreError with what to do."""
    store = _build(name, section, lanes)
    try:
        await (store.rehearse() if isinstance(store, Rehearsing) else store.check())
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
