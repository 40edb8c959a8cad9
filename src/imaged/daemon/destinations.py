"""The destinations of exports of one process: built by their kinds, and closed at the end.

They are not tried when a process begins: machines boot also where an archive cannot be reached. The
sweeper finds out soon (``services/tasks/sweeping.py``), and ``imaged check-config`` tries them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from imaged.config.exports import ExportsSection
from imaged.config.stores import BucketSection, FolderSection
from imaged.core.errors import ExportError, StoreError
from imaged.daemon.settings import filesystem_settings, s3_settings
from imaged.exports.folder import Folder
from imaged.ports.export import Destination


@asynccontextmanager
async def open_destinations(section: ExportsSection) -> AsyncIterator[Mapping[str, Destination]]:
    """All that are configured. Raises ExportError where the keys of one cannot be read."""
    async with AsyncExitStack() as opened:
        yield {
            name: await opened.enter_async_context(open_destination(name, place))
            for name, place in section.by_name.items()
        }


@asynccontextmanager
async def open_destination(
    name: str, section: FolderSection | BucketSection
) -> AsyncIterator[Destination]:
    """One of them. Raises ExportError where its keys cannot be read."""
    destination = _build(name, section)
    try:
        yield destination
    finally:
        await destination.close()


def _build(name: str, section: FolderSection | BucketSection) -> Destination:
    match section:
        case FolderSection():
            return Folder(name, filesystem_settings(section))
        case BucketSection():
            from imaged.exports.bucket import Bucket  # only here: its libraries are large

            try:
                return Bucket(name, s3_settings(name, section))
            except StoreError as error:  # its keys cannot be read
                raise ExportError(name, error.why) from error
