"""Wall time, replaceable. Leases and due moments never use it: those are the catalog's."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return this moment, with its zone (UTC)."""
        ...
