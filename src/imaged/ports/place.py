"""What is asked of a place that bears a marker: see ``core/place_marker.py``."""

from __future__ import annotations

from typing import Protocol

from imaged.core.place_marker import Marker, PlaceKind


class MarkedPlace(Protocol):
    """A folder, or a bucket with its prefix. Every method may raise ``StoreError``."""

    @property
    def kind(self) -> PlaceKind:
        """What it is for."""
        ...

    @property
    def name(self) -> str:
        """The name that the configuration gives it."""
        ...

    @property
    def where(self) -> str:
        """Where it is, for people."""
        ...

    async def read_marker(self) -> Marker | None:
        """The marker that is there now; None where the place is there, and has none.

        Raises MarkerRefused where there is something that cannot be understood.
        """
        ...

    async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
        """Write it durably, and return the marker that is there then: without ``replace``, one
        that others wrote at the same moment stays.
        """
        ...

    def expect(self, marker: Marker) -> None:
        """From now on, let nothing be written or deleted where the marker is another one."""
        ...

    async def require_expected(self) -> None:
        """Raises WrongPlace where the marker is gone, or another than is expected."""
        ...
