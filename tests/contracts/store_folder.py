"""A folder for a filesystem store: the store, its back door, and an audit at the end."""

from __future__ import annotations

import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from imaged.core.blob import is_key
from imaged.core.limits import MIB
from imaged.lanes import LaneFactory, ThreadLane
from imaged.stores.filesystem.disk import Disk
from imaged.stores.filesystem.settings import FilesystemSettings
from imaged.stores.filesystem.store import FilesystemStore
from support.settings import configured
from support.waiting import wait_until

FOREIGN_FILES = ["notes.txt", ".tmp/.nfs000000000000007b", "0a/notes.txt", "lost+found/#12"]
MISPLACED_FILES = [
    "0b/0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
    "0a3b6f0e-1c2d-4e5f-8a9b-0c1d2e3f4a5b.00000000000000000000000000000001",
]


class FolderBackdoor:
    """The folder behind a FilesystemStore."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def plant(self, key: str, data: bytes) -> None:
        """Insert a complete blob."""
        (self.root / key).write_bytes(data)

    async def write_unfinished(self, key: str, data: bytes) -> None:
        """Insert what a crash leaves of a write."""
        (self.root / ".tmp" / key[3:]).write_bytes(data)

    async def write_foreign(self) -> None:
        """Insert files with other names, and entries with key-like names in wrong places."""
        (self.root / "lost+found").mkdir()
        for name in FOREIGN_FILES + MISPLACED_FILES:
            (self.root / name).write_bytes(b"not ours")
        (self.root / "0b" / ("0b" + MISPLACED_FILES[0][5:])).mkdir()

    async def read_raw(self, key: str) -> bytes | None:
        """The bytes of a complete blob."""
        path = self.root / key
        return path.read_bytes() if path.exists() else None

    def unfinished(self) -> dict[str, int]:
        """The sizes of the files of unfinished writes, by name."""
        return {path.name: path.stat().st_size for path in (self.root / ".tmp").iterdir()}


def folders(root: Path) -> dict[str, int]:
    """The folders of a store, and their modes."""
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in root.iterdir()}


def vanish(root: Path) -> None:
    """What an unmounted filesystem leaves: an empty folder."""
    for path in root.iterdir():
        shutil.rmtree(path)


def rehearsals(root: Path) -> int:
    """Remove what self-tests left on disks that did not let the store do it."""
    left = list(root.rglob(".rehearsal-*"))
    for path in left:
        path.unlink()
    return len(left)


def open_files(root: Path) -> list[str]:
    """The files below a folder that this process has open."""
    names = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the descriptor of this list itself
            names.append(str(descriptor.readlink()))
    return [name for name in names if name.startswith(f"{root}/")]


def lanes() -> list[threading.Thread]:
    """The running lanes."""
    return [thread for thread in threading.enumerate() if thread.name == "lane"]


def strays(root: Path) -> list[str]:
    """Files that are neither blobs, nor truncated leftovers, nor a test's own."""
    files = [path for path in root.rglob("*") if path.is_file()]
    return [
        name
        for name in (str(path.relative_to(root)) for path in files)
        if not is_key(name)
        and not _is_unfinished(name)
        and name not in FOREIGN_FILES + MISPLACED_FILES
    ]


def store_on(
    root: Path, disk: Disk | None = None, lanes: LaneFactory = ThreadLane, **changes: Any
) -> FilesystemStore:
    """A store without a watermark that flushes, and looks at its space, after each block."""
    values = {
        "path": root,
        "min_free_bytes": 0,
        "flush_every_bytes": MIB,
        "space_check_every_bytes": MIB,
        **changes,
    }
    settings = configured(FilesystemSettings, **values)
    return FilesystemStore("local", settings, lanes=lanes, disk=disk)


@contextmanager
def audited(root: Path) -> Iterator[Path]:
    """A folder in which no file stays open, no lane stays running, and no foreign name is left.

    Lanes of other tests in the same process, which may run until their objects are collected, are
    none of the store's.
    """
    root.mkdir()
    before = lanes()

    def own_lanes() -> list[threading.Thread]:
        return [lane for lane in lanes() if lane not in before]

    yield root
    wait_until(lambda: not open_files(root), lambda: open_files(root))
    wait_until(lambda: not own_lanes(), own_lanes)
    assert strays(root) == []


def _is_unfinished(name: str) -> bool:
    folder, _, file = name.partition("/")
    return folder == ".tmp" and is_key(f"{file[:2]}/{file}")
