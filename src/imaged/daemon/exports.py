"""Builds the export destinations of one process by their kinds, and closes them at the end.

They are not tested at start: a machine must boot even if an archive is unreachable. The sweeper
reports a broken one soon (``services/tasks/cleanup.py``), and ``imaged check-config`` tests them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Protocol

from imaged.config.exports import ExportsSection
from imaged.config.stores import FilesystemBaseSection, S3BaseSection
from imaged.core.errors import ExportError, StoreError
from imaged.daemon.settings import filesystem_settings, s3_settings
from imaged.exports.filesystem import FilesystemExport
from imaged.ports.export import Destination
from imaged.ports.place import MarkedPlace
from imaged.services.place_registry import PlaceRegistry


class PlacedDestination(Destination, Protocol):
    """A destination whose place has a marker."""

    @property
    def place(self) -> MarkedPlace:
        """The marked place of the destination."""
        ...


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
    destination = _build(name, section)
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


def _build(name: str, section: FilesystemBaseSection | S3BaseSection) -> PlacedDestination:
    match section:
        case FilesystemBaseSection():
            return FilesystemExport(name, filesystem_settings(section))
        case S3BaseSection():
            from imaged.exports.s3 import S3Export  # lazy: its libraries are large

            try:
                return S3Export(name, s3_settings(name, section))
            except StoreError as error:  # its keys cannot be read
                raise ExportError(name, error.why) from error
