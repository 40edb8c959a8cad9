"""The layout of a store, drawn once.

    <root>/
      .tmp/<image id>.<attempt>          an unfinished write (filesystem only)
      .tmp/.rehearsal-…, 00/.rehearsal-… the file of a self-test (filesystem only)
      rehearsals/…                       the object of a self-test (bucket only)
      00/ … ff/                          256 folders, made once, by the first two digits of the id
        <image id>.<attempt>             a complete blob

A key (``core/blob.py``) is the path of a complete blob below the root.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from imaged.core.blob import is_key
from imaged.core.errors import StoreError

SHARD_FOLDERS = tuple(f"{number:02x}" for number in range(256))
SELF_TEST_PREFIX = ".rehearsal-"  # of files; no key has it
SELF_TEST_FOLDER = "rehearsals/"  # of objects
LEFTOVER_AGE = timedelta(days=1)  # anything older belongs to no self-test that still runs


@dataclass(frozen=True, slots=True)
class StorePaths:
    """The paths below one root. Only keys become paths: call ``require_key`` first."""

    root: Path

    @property
    def temporary_folder(self) -> Path:
        """The folder of unfinished writes."""
        return self.root / ".tmp"

    @property
    def blob_folders(self) -> list[Path]:
        """The folders of complete blobs."""
        return [self.root / name for name in SHARD_FOLDERS]

    def temporary_path(self, key: str) -> Path:
        """The file of an unfinished write."""
        return self.temporary_folder / key[3:]

    def blob_path(self, key: str) -> Path:
        """The file of a complete blob."""
        return self.root / key

    def blob_folders_for(self, prefix: str) -> list[Path]:
        """The folders that may contain complete blobs whose keys have this prefix."""
        names = (name for name in SHARD_FOLDERS if f"{name}/".startswith(prefix[:3]))
        return [self.root / name for name in names]


def require_key(store: str, key: str) -> None:
    """Refuse every name that is not a key, paths above all. Raises StoreError."""
    if not is_key(key):
        raise StoreError(store, f"has nothing under {key!r}, because that is not a key")
