"""The temporary file of a blob, from its first byte until it has its final name.

Strategy. The bytes go to a temporary name on the same filesystem. Once they are durable, a rename
that never replaces a file gives them their final name, and the folder is synced. A writer never
deletes a name: ``delete`` removes the temporary one, and the write can then no longer complete. A
write that fails truncates its file through its own descriptor, which frees the space at once, and
renames a file that already had its final name back to the temporary name.
"""

from __future__ import annotations

from contextlib import suppress

from imaged.stores.filesystem.disk import Disk, move, sync_folder
from imaged.stores.filesystem.marker import FolderMarker
from imaged.stores.filesystem.paths import StorePaths
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.temporary_file import TemporaryFile


class BlobTemporaryFile(TemporaryFile):
    """One attempt to write one blob."""

    def __init__(
        self,
        store: str,
        key: str,
        settings: FilesystemSettings,
        disk: Disk,
        place: FolderMarker | None = None,
    ) -> None:
        folders = StorePaths(settings.path)
        super().__init__(store, key, folders.temporary_path(key), settings, disk, place=place)
        self._whole = folders.blob_path(key)
        self._is_renamed = False

    def _require_unused(self) -> None:
        """Raises BlobExists, OSError."""
        with suppress(FileNotFoundError):
            self._disk.stat(self._whole)
            raise self._exists()

    def _publish_name(self) -> None:
        try:
            move(self._disk, self._temporary, self._whole)
        except FileExistsError:
            raise self._exists() from None
        except FileNotFoundError as error:
            for folder in (self._temporary.parent, self._whole.parent):
                self._disk.stat(folder)  # a missing folder is reported as itself
            raise self._discarded() from error
        self._is_renamed = True
        sync_folder(self._disk, self._whole.parent)

    def _roll_back(self, descriptor: int) -> None:
        if self._is_renamed:
            move(self._disk, self._whole, self._temporary)
        self._disk.ftruncate(descriptor, 0)
