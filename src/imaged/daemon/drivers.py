"""Opens and checks the drivers of one process: the catalog, the stores and the destinations, and
the receiver of notifications.

No new catalog is created beside stores that hold data.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from imaged.catalogs import connect
from imaged.catalogs.change_log import ChangeLog
from imaged.catalogs.database import Database, MeteredDatabase
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.config import Config
from imaged.core.errors import CatalogMissing, ImagedError, MarkerRefused
from imaged.core.place_marker import Marker, PlaceKind
from imaged.core.secret import Secret
from imaged.daemon import settings
from imaged.daemon.keystone import KeystoneConnection, open_keystone, open_project_limits
from imaged.daemon.places import build_stores, open_destinations, open_stores
from imaged.lanes import BackgroundLane, LaneFactory, ThreadLane
from imaged.ports.catalog import Catalog
from imaged.ports.export import Destination
from imaged.ports.meter import Meter
from imaged.ports.place import MarkedPlace
from imaged.ports.project_limits import ProjectLimits
from imaged.ports.store import Store, Stores
from imaged.services.marked_places import BLOB_SAMPLE_SIZE, MarkedDestination, PlaceRegistry
from imaged.telemetry.outages import watch_catalog, watch_store
from imaged.units import pluralize
from imaged.webhooks.settings import WebhookSettings
from imaged.webhooks.signature import parse_secrets

if TYPE_CHECKING:  # commands measure nothing and do not load Prometheus
    from imaged.metrics.instruments import Instruments
    from imaged.webhooks.http_receiver import HttpReceiver


class WebhookSecretsInvalid(ImagedError):
    """The secrets that sign events cannot be read, or are none. The text names their file."""

    needs_correction = True

    def __init__(self, origin: str, why: str) -> None:
        super().__init__(
            f"The secrets in {origin} cannot be used: {why}. Put one secret there, or two while "
            'the receiver changes to a new one, each in a line: "whsec_" and 24 to 64 random bytes '
            "in base64."
        )


@dataclass(frozen=True, slots=True)
class Drivers:
    """Open and checked drivers."""

    catalog: Catalog
    stores: Stores
    database: Database  # behind the catalog
    destinations: Mapping[str, Destination]  # of exports
    limits: ProjectLimits  # that the catalog charges projects against
    places: PlaceRegistry
    keystone: KeystoneConnection | None = (
        None  # of the process that answers requests, if it is used
    )


@asynccontextmanager
async def open_drivers(
    config: Config,
    instruments: Instruments | None = None,
    *,
    is_child: bool = False,
    processes: int = 1,
) -> AsyncIterator[Drivers]:
    """Open the catalog and the stores, and check that they work and belong together.

    With ``instruments``, both are measured. ``is_child``: for a process that a daemon starts. It
    opens without stores that fail, and its daemon logs the outages of the catalog.
    ``processes``: so many share the connections of the instance.

    Raises StoreError, WrongPlace, ExportError and CatalogError with a remedy.
    """
    meter_store = None if instruments is None else partial(_measure_store, instruments)
    async with (
        _open_keystone(config, instruments) as keystone,
        build_stores(config.stores, lane_factory(config)) as built,
        open_destinations(config.exports) as destinations,
        open_catalog(config, instruments, is_child=is_child, processes=processes) as catalog,
    ):
        places = PlaceRegistry(catalog)
        yield Drivers(
            catalog,
            await open_stores(
                config.stores, built, places, meter_store, allow_unavailable=is_child
            ),
            catalog.database,
            {
                name: MarkedDestination(destination, destination.place, places)
                for name, destination in destinations.items()
            },
            catalog.limits,
            places,
            keystone,
        )


def _open_keystone(
    config: Config, instruments: Instruments | None
) -> AbstractAsyncContextManager[KeystoneConnection | None]:
    """Only a process that answers requests asks Keystone."""
    if instruments is None or "api" not in config.daemon.roles or config.auth.method != "keystone":
        return nullcontext()
    return open_keystone(config, instruments.register_keystone())


def _measure_store(instruments: Instruments, name: str) -> Meter:
    return watch_store(name, instruments.stores.of(name))


@asynccontextmanager
async def open_catalog(
    config: Config,
    instruments: Instruments | None = None,
    *,
    is_child: bool = False,
    processes: int = 1,
) -> AsyncIterator[SqlCatalog]:
    """Open the catalog; with ``instruments`` it is measured, and its outages are logged, unless its
    daemon (``is_child``) logs them.

    Raises KeystoneSettingsUnusable, CatalogError; CatalogTooOld if it is not migrated
    automatically; CatalogMissing if a new catalog would be created beside stores that hold data.
    """
    if connect.is_missing(config.catalog.url):
        await require_empty_stores(config)
    async with open_project_limits(config) as limits:
        catalog = await connect.open_catalog(
            config.catalog.url, settings.password_file(config), processes, is_child=is_child
        )
        if instruments is not None:
            meter = instruments.catalog if is_child else watch_catalog(instruments.catalog)
            measured = MeteredDatabase(catalog.database, meter)
            catalog = SqlCatalog(measured, ChangeLog(instruments.tasks.changed))
        catalog.limits = limits
        catalog.list_budget = config.api.list_budget
        catalog.wanted_events = settings.wanted_events(config)
        try:
            yield catalog
        finally:
            await catalog.close()


def lane_factory(config: Config) -> LaneFactory:
    """Return the kind of lane that this process writes bytes through."""
    return BackgroundLane if config.daemon.is_worker_only else ThreadLane


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
    url, password = config.catalog.url, settings.password_file(config)
    if await connect.is_new(url, password):  # not created meanwhile
        require_nothing_held(connect.without_password(url), inventories)


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
            "catalog.url, mount the catalog's disk, restore the catalog from a backup, or copy it "
            "from another database: `imaged migrate --from URL`. If you do want a new catalog over "
            "stores that hold images: `imaged migrate --new-catalog`."
        )


def build_receiver(config: Config) -> HttpReceiver | None:
    """Build the receiver, if there is one. Raises WebhookSecretsInvalid, CertificatesRefused."""
    section = config.notifications
    if not section.url:
        return None
    from imaged.webhooks.http_receiver import HttpReceiver  # lazy: its library is large

    name = config.daemon.name or socket.gethostname()
    ca_file = Path(section.ca_file) if section.ca_file else None
    webhook = settings.settings_for(
        section,
        WebhookSettings,
        secrets=_webhook_secrets(config),
        ca_file=ca_file,
        publisher_id=section.publisher_id or f"image.{name}",
    )
    try:
        return HttpReceiver(webhook)
    except OSError as error:  # includes SSLError
        raise settings.CertificatesRefused(ca_file, error) from error


def _webhook_secrets(config: Config) -> Sequence[Secret]:
    """The secrets: values take precedence over a file. Raises WebhookSecretsInvalid."""
    section = config.notifications
    origin = "notifications.secret" if section.secret else section.secret_file
    try:
        if section.secret:
            return parse_secrets(section.secret.get_secret_value())
        return parse_secrets(Path(section.secret_file).read_text(encoding="utf-8"))
    except OSError as error:
        raise WebhookSecretsInvalid(origin, f"{error.strerror}") from error
    except ValueError as error:  # includes UnicodeDecodeError, which quotes bytes
        why = "it is no text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise WebhookSecretsInvalid(origin, why) from None
