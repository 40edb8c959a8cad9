"""Where the files of a filesystem store are: the drawing of ``keys.py``, as paths."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imaged.stores.keys import FOLDERS


@dataclass(frozen=True, slots=True)
class Folders:
    """The paths below one root. Only keys become paths: ``require_key`` comes first."""

    root: Path

    @property
    def unfinished(self) -> Path:
        """The folder of unfinished writes."""
        return self.root / ".tmp"

    @property
    def whole(self) -> list[Path]:
        """The folders of whole blobs."""
        return [self.root / name for name in FOLDERS]

    def unfinished_path(self, key: str) -> Path:
        """The file of an unfinished write."""
        return self.unfinished / key[3:]

    def whole_path(self, key: str) -> Path:
        """The file of a whole blob."""
        return self.root / key

    def searched(self, prefix: str) -> list[Path]:
        """The folders that may hold whole blobs whose keys begin so."""
        return [folder for folder in self.whole if f"{folder.name}/".startswith(prefix[:3])]
