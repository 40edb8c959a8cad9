"""The limits up to which blobs without a row are deleted automatically.

A few are left by double faults. Many indicate that the catalog does not match the store: it is new,
restored from an old backup, or the wrong one. Then the blobs are images.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayLimits:
    """Both limits apply. ``max_share``: of all blobs of the store, between 0 and 1."""

    max_strays: int
    max_share: float

    def allow(self, strays: int, keys: int) -> bool:
        """Whether this many strays among the ``keys`` of a store may go; never all of them."""
        if not strays:
            return True
        return strays <= self.max_strays and strays <= keys * self.max_share and strays < keys


def warning_of(strays: int, keys: int) -> str:
    """The warning for operators about strays that are too many to delete."""
    return (
        f"{strays} of its {keys} blobs have no row, and none of them is deleted: is "
        "catalog.url right, and is the catalog the newest? `imaged reconcile` lists them"
    )
