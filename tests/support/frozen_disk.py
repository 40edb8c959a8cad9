"""A folder whose disk hangs: each call to it blocks in the kernel, as on a network that is gone.

FROZEN_FOLDER names the folder. While there is a FIFO of its name and ``.frozen``, a thread that
touches the folder waits in open(2) of that, which no signal of ours and no cancellation ends.
``thaw`` ends it for all. Importing this hooks it into the calls of ``stores/filesystem/disk.py``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imaged.stores.filesystem.disk import Disk

FROZEN_FOLDER_VARIABLE = "FROZEN_FOLDER"


def freeze(folder: Path) -> None:
    """From now on the folder does not answer."""
    os.mkfifo(_gate_of(folder))


def thaw(folder: Path) -> None:
    """Let all go on that wait, and those that come."""
    gate = _gate_of(folder)
    opened = os.open(gate, os.O_RDWR | os.O_NONBLOCK)
    gate.unlink()
    os.close(opened)


def _gate_of(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.frozen")


def _hooked(call: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    gate = _gate_of(folder)

    def hooked(first: Any, *more: Any, **named: Any) -> Any:
        touched = _path_of(first)
        if touched.startswith(str(folder)) and gate.exists():
            os.close(os.open(gate, os.O_RDONLY))
        return call(first, *more, **named)

    return hooked


def _path_of(file: object) -> str:
    """Of an open descriptor, or of a path."""
    return str(Path(f"/proc/self/fd/{file}").readlink() if isinstance(file, int) else file)


def _hook(folder: Path) -> None:
    for name in ("open", "stat", "scan", "statvfs", "unlink", "writev", "fsync", "fdatasync"):
        setattr(Disk, name, staticmethod(_hooked(getattr(Disk, name), folder)))


if found := os.environ.get(FROZEN_FOLDER_VARIABLE):
    _hook(Path(found))
