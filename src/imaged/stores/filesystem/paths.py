"""The paths of a filesystem store: the drawing of ``stores/layout.py``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imaged.stores.layout import SHARD_FOLDERS


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
        return [folder for folder in self.blob_folders if f"{folder.name}/".startswith(prefix[:3])]
