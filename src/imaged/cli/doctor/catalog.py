"""Checks of the catalog: access, version, clock, leases and instances."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

from imaged.catalogs.connect import inspect_catalog, is_missing, is_postgresql
from imaged.catalogs.sqlite.catalog_file import path_of
from imaged.catalogs.sqlite.engine import LONG_LOG_BYTES, write_ahead_log_bytes
from imaged.cli.doctor import Finding, ok, problem, warning
from imaged.cli.doctor.files import NETWORK_FILESYSTEMS, filesystem_of
from imaged.cli.doctor.waiting_events import check_waiting
from imaged.config import Config
from imaged.core.errors import (
    CatalogError,
    CatalogMissing,
    CatalogTooNew,
    CatalogTooOld,
    StoreError,
)
from imaged.core.summary import Summary
from imaged.daemon.drivers import open_catalog, require_empty_stores
from imaged.daemon.settings import password_file
from imaged.units import approximate_duration, approximate_size, pluralize

CATALOG_SUBJECT = "catalog"
WRONG_CATALOG = "Correct it, or catalog.url in the configuration."
CLOCK_SUBJECT = "clock"
CLOCK_SKEW_WARNING = timedelta(seconds=2)  # more than with a working time service
CLOCK_SKEW_PROBLEM = timedelta(seconds=60)


async def check_catalog(config: Config) -> AsyncIterator[Finding]:
    """Check the catalog; it is neither created nor migrated."""
    url = config.catalog.url
    try:
        await inspect_catalog(url, password_file(config))
    except CatalogTooOld as error:
        yield problem(CATALOG_SUBJECT, str(error), "imaged migrate")
        return
    except CatalogTooNew as error:
        yield problem(
            CATALOG_SUBJECT, str(error), "Run the version of imaged that the other instances run."
        )
        return
    except CatalogError as error:
        yield problem(CATALOG_SUBJECT, str(error), WRONG_CATALOG)
        return
    if not is_postgresql(url):
        path = path_of(url)
        if (kind := filesystem_of(path.parent)) in NETWORK_FILESYSTEMS:
            yield problem(
                CATALOG_SUBJECT,
                f"{path} is on {kind}, where SQLite's locks do not hold.",
                "Put it on a local disk, or use PostgreSQL.",
            )
        if is_missing(url):
            try:
                await require_empty_stores(config)
            except CatalogMissing as error:
                yield problem(CATALOG_SUBJECT, str(error), WRONG_CATALOG)
                return
            except StoreError:
                return  # check_store says why
            yield ok(CATALOG_SUBJECT, f"{path} does not exist yet; the first daemon creates it.")
            return
    async for finding in _check_contents(config):
        yield finding


def check_wal_size(log_bytes: int) -> Finding:
    """Check SQLite's write-ahead log; a daemon truncates a long one, unless readers block it."""
    what = f"Its write-ahead log has {approximate_size(log_bytes)}."
    if log_bytes > 2 * LONG_LOG_BYTES:
        remedy = (
            "Start a daemon, which truncates it; or end the program that reads it all the time."
        )
        return warning(CATALOG_SUBJECT, what, remedy)
    return ok(CATALOG_SUBJECT, what)


async def _check_contents(config: Config) -> AsyncIterator[Finding]:
    before = datetime.now(UTC)
    try:
        async with open_catalog(config) as catalog:
            asked = datetime.now(UTC)
            summary = await catalog.summarize()
            answered = datetime.now(UTC)
            events = await catalog.list_events(1)
    except CatalogError as error:
        yield problem(CATALOG_SUBJECT, str(error), WRONG_CATALOG)
        return
    took = approximate_duration(answered - before)
    yield ok(CATALOG_SUBJECT, f"It is of this version, and answered within {took}.")
    yield compare_clocks(summary.at, asked, answered)
    if not is_postgresql(config.catalog.url):
        yield check_wal_size(write_ahead_log_bytes(path_of(config.catalog.url)))
    for finding in (*check_leases(summary, config.claims.lease), *check_waiting(events)):
        yield finding


def compare_clocks(at: datetime, asked: datetime, answered: datetime) -> Finding:
    """Compare clocks: leases use the catalog's; logs, tokens and S3 signatures this machine's."""
    apart = max(asked - at, at - answered, timedelta(0))
    what = f"The clocks of the catalog and of this machine are {apart.total_seconds():.1f} s apart."
    if apart >= CLOCK_SKEW_PROBLEM:
        return problem(CLOCK_SUBJECT, what, "Let both machines ask a time service (NTP).")
    if apart >= CLOCK_SKEW_WARNING:
        return warning(CLOCK_SUBJECT, what, "Let both machines ask a time service (NTP).")
    return ok(CLOCK_SUBJECT, what)


def check_leases(summary: Summary, lease: timedelta) -> Iterator[Finding]:
    """Check that live instances take back the work of dead ones within a lease."""
    late = [one for one in summary.held_images if summary.at - one.lease_until > lease]
    if late:
        yield problem(
            "leases",
            f"Dead instances hold {pluralize(len(late), 'image')}, {late[0].image_id} first.",
            "Start an instance: it takes back what they hold, within a lease.",
        )
    else:
        yield ok(
            "leases", f"Live instances work on {pluralize(len(summary.held_images), 'image')}."
        )
    failing = sum(usage.failing for usage in summary.blob_usage)
    if failing:
        yield warning(
            "scrubber",
            f"{pluralize(failing, 'blob')} could not be deleted at least once.",
            "imaged scrub --dry-run says why; imaged keeps retrying.",
        )
    for warned in summary.warnings:
        yield warning("places", f"{warned}.", "Do what `reconcile.braked` says in docs/how-to.")
    if not summary.instances:
        yield ok("instances", "No instance works on the catalog at the moment.")
    else:
        names = ", ".join(instance.id for instance in summary.instances)
        yield ok("instances", f"At work: {names}.")
    for instance in summary.instances:
        for trouble in instance.troubles:
            yield warning(
                "instances",
                f"{instance.id} says: {trouble}",
                "The page of events says what to do; imaged keeps retrying.",
            )
