"""How a folder is used, by a store or for exports."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
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
    space_check_every_bytes: int = 64 * MIB  # a long write looks whether to go on
    hung_thread_timeout: timedelta = timedelta(seconds=30)  # after that a thread is abandoned
    threads: int = 8  # for names, flushing and deleting
    reading_threads: int = 16
