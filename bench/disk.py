"""The disk, made the same for everybody before a timed write."""

from __future__ import annotations

import os
from pathlib import Path

from bench.sizes import MIB


def level(folder: Path, size_bytes: int) -> None:
    """Write and remove as much as is about to be written, and leave nothing to be flushed.

    Pages that a virtual machine never touched cost it ten times more, and the first target would
    pay for them; and no target pays for what was written or deleted before.
    """
    block, path = os.urandom(MIB), folder / "level"
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, MIB):
            file.write(block)
    path.unlink()
    os.sync()


def make_image(path: Path, size_bytes: int) -> Path:
    """A file of bytes that do not repeat. ``size_bytes`` is counted in whole MiB."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size_bytes // MIB):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path
