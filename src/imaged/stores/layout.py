"""The layout of a store, drawn once.

    <root>/
      .tmp/<image id>.<attempt>          an unfinished write (filesystem only)
      00/ … ff/                          256 folders, made once, by the first two digits of the id
        <image id>.<attempt>             a complete blob

A key (``core/blob.py``) is the path of a complete blob below the root.
"""

from __future__ import annotations

from datetime import timedelta

from imaged.core.blob import is_key
from imaged.core.errors import StoreError

SHARD_FOLDERS = tuple(f"{number:02x}" for number in range(256))
LEFTOVER_AGE = timedelta(days=1)  # anything older belongs to no self-test that still runs


def require_key(store: str, key: str) -> None:
    """Refuse every name that is not a key, paths above all. Raises StoreError."""
    if not is_key(key):
        raise StoreError(store, f"has nothing under {key!r}, because that is not a key")
