"""Replaceable wall time. Leases and due times use the catalog's clock instead."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the wall time."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        ...
