"""The free space of a filesystem, and how much of it must stay free."""

from __future__ import annotations

from pathlib import Path

from imaged.core.errors import StoreFull
from imaged.core.limits import MIB
from imaged.stores.filesystem.disk import Disk


def free_bytes(disk: Disk, path: Path) -> int:
    """The free space for users other than root, in bytes. Raises OSError."""
    figures = disk.statvfs(path)
    return figures.f_bavail * figures.f_frsize


def require_room(
    store: str, disk: Disk, path: Path, *, min_free_bytes: int, expected_bytes: int = 0
) -> None:
    """Refuse a write that would leave less than ``min_free_bytes``. Raises StoreFull, OSError."""
    left = free_bytes(disk, path) - expected_bytes
    if left < min_free_bytes:
        raise StoreFull(
            store,
            f"has too little room at {path}: {left // MIB} MiB would be left, and "
            f"{min_free_bytes // MIB} MiB must stay free (min_free)",
        )
