"""The layout of a store, drawn once.

    <root>/
      .tmp/<image id>.<attempt>          an unfinished write (filesystem only)
      00/ … ff/                          256 folders, made once, by the first two digits of the id
        <image id>.<attempt>             a whole blob

A key (``core/keys.py``) is the path of a whole blob below the root.
"""

from __future__ import annotations

from imaged.core.keys import image_of, is_key, make_key

FOLDERS = tuple(f"{number:02x}" for number in range(256))

__all__ = ["FOLDERS", "image_of", "is_key", "make_key"]
