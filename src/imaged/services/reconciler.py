"""Compares the stores with the ledger, in both directions, as a periodic job.

A row is written before its first byte, so bytes without a row are strays. They are doomed, and the
scrubber deletes them. But with a new catalog, or one restored from a backup, good bytes look like
strays: therefore they are deleted only after a quarantine, and for each store nothing is doomed if
there are too many of them (``core/ledger.py``).
Missing bytes are reported to the operator; they cannot be repaired here.

The order of the listings matters. Strays: the store first, then the ledger, because a write that
began in between is in both; then the store again, because scrubbed bytes are gone by then. Missing
bytes: the ledger, the store, and the ledger again, because scrubbed bytes are no longer recorded by
then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import anyio
import structlog

from imaged.core.blob import BlobState, image_id_of_key
from imaged.core.errors import StoreError
from imaged.core.image import Location
from imaged.core.ledger import StrayLimits, stray_warning
from imaged.core.place_marker import PlaceKind
from imaged.ports.catalog import PlaceCatalog
from imaged.ports.image_catalog import BlobCatalog
from imaged.ports.store import Store, Stores

log = structlog.get_logger()

KEY_PREFIXES = tuple(f"{number:02x}/" for number in range(256))  # one part of the keys at a time
LISTING_TIMEOUT = timedelta(minutes=10)  # for one part; a disk that hangs never ends a listing


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileSettings:
    """Limits of the comparison."""

    every: timedelta
    quarantine: timedelta
    limits: StrayLimits  # beyond them nothing is doomed


@dataclass(slots=True)
class ReconcileReport:
    """The result of a comparison, and the actions taken."""

    keys: int = 0  # in all stores
    strays: list[Location] = field(default_factory=list)
    missing: list[Location] = field(default_factory=list)
    doomed: int = 0
    braked_stores: list[str] = field(default_factory=list)  # stores with too many strays
    failed: dict[str, str] = field(default_factory=dict)  # stores that were not compared, and why

    @property
    def braked(self) -> bool:
        """Whether strays were kept because there are too many."""
        return bool(self.braked_stores)


class ReconcilerCatalog(PlaceCatalog, BlobCatalog, Protocol):
    """Blobs, and the warnings about their stores."""


class StoreReconciler:
    """Compares all stores with the catalog."""

    def __init__(
        self,
        catalog: ReconcilerCatalog,
        stores: Stores,
        settings: ReconcileSettings,
        prefixes: Sequence[str] = KEY_PREFIXES,
    ) -> None:
        """``prefixes``: of keys, compared one at a time; together they begin every key."""
        self._catalog = catalog
        self._stores = stores
        self._prefixes = prefixes
        self.settings = settings
        self.last: ReconcileReport | None = None  # of the last complete comparison
        self.last_at: float | None = None  # when it ended, in seconds of the event loop's clock

    async def run_due(self) -> ReconcileReport:
        """Compare, and doom the strays.

        Raises StoreError at the end, if a store could not be compared.
        """
        report = await self.run(apply=True)
        for store, why in report.failed.items():
            raise StoreError(store, why)
        return report

    async def run(self, *, apply: bool, max_strays: int | None = None) -> ReconcileReport:
        """Compare, and with ``apply`` doom the strays.

        ``max_strays``: the number of strays, in all stores, that an operator accepts. A store that
        fails does not delay the others. Raises CatalogError.
        """
        report = ReconcileReport()
        keys_of = {}
        for name, store in self._stores.by_name.items():
            before = report.keys
            await self._compare_all(store, report)
            keys_of[name] = report.keys - before
        strays_of = Counter(stray.store for stray in report.strays)
        report.braked_stores = self._surprising(strays_of, keys_of, max_strays)
        self.last, self.last_at = report, anyio.current_time()
        self._tell(report, strays_of, keys_of)
        if apply:
            await self._doom(report)
            await self._warn(report, strays_of, keys_of)
        return report

    async def _compare_all(self, store: Store, report: ReconcileReport) -> None:
        """Compare one store. Its findings are discarded if it fails."""
        found = ReconcileReport()
        try:
            for prefix in self._prefixes:
                with anyio.fail_after(LISTING_TIMEOUT.total_seconds()):
                    await self._compare(store, prefix, found)
        except StoreError as error:
            report.failed[store.name] = error.why
        except TimeoutError:
            report.failed[store.name] = f"did not list its keys within {LISTING_TIMEOUT}"
        else:
            report.keys += found.keys
            report.strays += found.strays
            report.missing += found.missing

    async def _compare(self, store: Store, prefix: str, report: ReconcileReport) -> None:
        kept = set(await self._catalog.list_kept(store.name, prefix))
        found = {key async for key in store.list_keys(prefix)}
        known = set(await self._catalog.list_keys(store.name, prefix))
        report.keys += len(found)
        unknown = found - known
        if unknown:
            unknown &= {key async for key in store.list_keys(prefix)}
        for key in sorted(unknown):
            if await self._catalog.get_blob(key) is None:  # not in another store either
                report.strays.append(Location(store.name, key, 0))
        for key in sorted(kept - found):
            blob = await self._catalog.get_blob(key)
            if blob is not None and blob.state is BlobState.KEPT:
                report.missing.append(Location(store.name, key, blob.size_bytes))

    def _surprising(
        self, strays_of: Mapping[str, int], keys_of: Mapping[str, int], max_strays: int | None
    ) -> list[str]:
        if max_strays is not None:
            return list(strays_of) if sum(strays_of.values()) > max_strays else []
        limits = self.settings.limits
        return [
            store for store, keys in keys_of.items() if not limits.allow(strays_of[store], keys)
        ]

    async def _doom(self, report: ReconcileReport) -> None:
        for stray in report.strays:
            if stray.store not in report.braked_stores:
                report.doomed += await self._catalog.add_stray(stray, self.settings.quarantine)

    async def _warn(
        self, report: ReconcileReport, strays_of: Mapping[str, int], keys_of: Mapping[str, int]
    ) -> None:
        """Set the warning of each store whose strays are kept, for all instances and ``imaged
        status``.
        """
        for store in keys_of.keys() - report.failed.keys():
            is_braked = store in report.braked_stores
            warning = stray_warning(strays_of[store], keys_of[store]) if is_braked else None
            await self._catalog.set_place_warning(PlaceKind.STORE, store, warning)

    def _tell(
        self, report: ReconcileReport, strays_of: Mapping[str, int], keys_of: Mapping[str, int]
    ) -> None:
        for missing in report.missing:
            image_id = image_id_of_key(missing.key)
            log.error("blob.bytes_missing", store=missing.store, key=missing.key, image_id=image_id)
        for stray in report.strays:
            image_id = image_id_of_key(stray.key)
            log.warning("blob.stray_found", store=stray.store, key=stray.key, image_id=image_id)
        for store in report.braked_stores:
            log.error("reconcile.braked", store=store, strays=strays_of[store], keys=keys_of[store])
