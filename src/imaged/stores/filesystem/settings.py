"""How a folder is used, by a store or for exports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from imaged.core.limits import MIB


@dataclass(frozen=True, slots=True)
class FilesystemSettings:
    """The path of a folder, and the limits of its use."""

    path: Path
    min_free_bytes: int  # a write that would leave less free space is refused
    file_mode: int
    folder_mode: int
    flush_every_bytes: int = 32 * MIB  # so that little is left to flush at the end
    threads: int = 8  # for names, flushing and deleting
    reading_threads: int = 16
