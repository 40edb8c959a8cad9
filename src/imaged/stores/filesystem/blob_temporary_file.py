"""A draft: a blob that is being written to a file, from its first byte to its name.

Strategy. The bytes go to a temporary name on the same filesystem. When they are durable, a rename
that never replaces gives them their own name, and the folder is synced. Whoever writes never
deletes a name: ``delete`` takes away the temporary one, and with it the draft's only way to be
completed. A draft that fails empties its file through its own descriptor, so that the space is free
at once, and takes a name that it has been given already back to the temporary one.
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
                self._disk.stat(folder)  # if one of them is gone, that is the trouble
            raise self._discarded() from error
        self._is_renamed = True
        sync_folder(self._disk, self._whole.parent)

    def _roll_back(self, descriptor: int) -> None:
        if self._is_renamed:
            move(self._disk, self._whole, self._temporary)
        self._disk.ftruncate(descriptor, 0)
