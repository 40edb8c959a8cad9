"""How many blobs without a row are no surprise, so that they may be deleted without a question.

A few are left by double faults. Many say that the catalog is not the one that the store was
written with: it is new, restored from an old backup, or the wrong one. Then they are images.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayLimits:
    """Both must hold. ``max_share``: of all blobs of the store, between 0 and 1."""

    max_strays: int = 100
    max_share: float = 0.01

    def allow(self, strays: int, keys: int) -> bool:
        """Whether so many of the ``keys`` that a store holds may go; never all of them."""
        if not strays:
            return True
        return strays <= self.max_strays and strays <= keys * self.max_share and strays < keys


def warning_of(strays: int, keys: int) -> str:
    """What an operator is told of strays that are too many to go."""
    return (
        f"No row tells of {strays} of its {keys} blobs, and none of them is deleted: is "
        "catalog.url right, and is the catalog the newest? `imaged reconcile` lists them"
    )
