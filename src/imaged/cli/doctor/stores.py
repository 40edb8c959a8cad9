"""Checks of the stores: marker, all operations, speed and free space."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import AsyncIterator
from pathlib import Path

from imaged.cli.doctor import Finding, ok, problem, warning
from imaged.cli.doctor.files import ROOT_UID, filesystem_of
from imaged.config.stores import FilesystemSection, S3Section
from imaged.core.errors import StoreError
from imaged.core.place_marker import PlaceState
from imaged.daemon.places import build_store, self_test_store
from imaged.services.marked_places import PlaceRegistry
from imaged.units import approximate_size

SLOW_SELF_TEST_SECONDS = 2.0
FREE_SPACE_FACTOR = 3  # times min_free: enough space
MEMORY_FILESYSTEMS = frozenset({"tmpfs", "ramfs"})


async def check_store(
    name: str, section: FilesystemSection | S3Section, places: PlaceRegistry | None = None
) -> AsyncIterator[Finding]:
    """Run the self-test of a store, as a daemon does at its start.

    ``places`` checks the marker; None if the catalog cannot be read.
    """
    subject, began = f"store {name}", time.monotonic()
    lacks: list[StoreError] = []
    if isinstance(section, FilesystemSection) and (owner := other_owner(section.path)):
        yield problem(
            subject,
            f"{section.path} belongs to {owner}, and this runs as root.",
            f"Run it as the daemon's user: sudo -u {owner} imaged doctor",
        )
        return
    try:
        async with build_store(name, section) as store:
            if places is not None:
                yield _marker_finding(subject, await places.examine(store.place, store))
            await self_test_store(store, lacks.append)
            took = time.monotonic() - began
            space = await store.space()
    except StoreError as error:
        yield problem(subject, str(error), f"Correct it, or stores.{name} in the configuration.")
        return
    done = _self_test_summary(section)
    if took > SLOW_SELF_TEST_SECONDS:
        yield warning(
            subject, f"{done}: it took {took:.1f} s.", "Check the load of its disk or network."
        )
    else:
        yield ok(subject, f"{done}: it took {took * 1000:.0f} ms.")
    for lack in lacks:
        yield warning(subject, str(lack), "docs/how-to/use-s3.md lists what each server lacks.")
    if isinstance(section, FilesystemSection):
        yield _filesystem_finding(subject, section.path)
    if space is not None:
        yield _free_space_finding(subject, space.free_bytes, space.min_free_bytes)


def _marker_finding(subject: str, verdict: PlaceState) -> Finding:
    match verdict:
        case PlaceState.SAME:
            return ok(subject, "Its marker is the one that the catalog knows.")
        case PlaceState.FORGOTTEN:
            return ok(subject, "Its marker is of this catalog, which will record it again.")
        case PlaceState.UNMARKED:
            return ok(subject, "It has no marker yet; the first daemon writes it.")


def other_owner(path: Path) -> str:
    """The folder's owner, if this runs as root and the owner is another user; otherwise ""."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return ""
    if os.geteuid() != ROOT_UID or owner == ROOT_UID:
        return ""
    try:
        return pwd.getpwuid(owner).pw_name
    except KeyError:
        return f"#{owner}"


def _self_test_summary(section: FilesystemSection | S3Section) -> str:
    match section:
        case FilesystemSection():
            return "A file was written, synced to the disk, renamed and removed"
        case S3Section():
            return (
                "An upload was listed and aborted, another one completed, read from its middle and "
                "deleted; an object was put, listed and deleted"
            )


def _free_space_finding(subject: str, free_bytes: int, min_free_bytes: int) -> Finding:
    what = (
        f"{approximate_size(free_bytes)} are free; "
        f"{approximate_size(min_free_bytes)} must stay free (min_free)."
    )
    if free_bytes <= min_free_bytes:
        remedy = (
            "Uploads are refused with 413: free some space, enlarge the filesystem, or lower "
            "scrubber.delay."
        )
        return problem(subject, what, remedy)
    if free_bytes < FREE_SPACE_FACTOR * min_free_bytes:
        return warning(subject, what, "Soon uploads will be refused: make room.")
    return ok(subject, what)


def _filesystem_finding(subject: str, path: Path) -> Finding:
    kind = filesystem_of(path)
    if kind in MEMORY_FILESYSTEMS:
        return warning(subject, f"{path} is {kind}: a restart loses all data.", "Use a disk.")
    return ok(subject, f"{path} is {kind or 'of an unknown type'}.")
