"""The interface of a place with a marker: see ``core/place_marker.py``."""

from __future__ import annotations

from typing import Protocol

from imaged.core.place_marker import Marker, PlaceKind


class MarkedPlace(Protocol):
    """A folder, or a bucket with its prefix. Every method may raise ``StoreError``."""

    @property
    def kind(self) -> PlaceKind:
        """The use of the place."""
        ...

    @property
    def name(self) -> str:
        """The name in the configuration."""
        ...

    @property
    def where(self) -> str:
        """The location, for people."""
        ...

    async def read_marker(self) -> Marker | None:
        """The current marker; None if the place exists without one.

        Raises MarkerRefused if the marker cannot be parsed.
        """
        ...

    async def write_marker(self, marker: Marker, *, replace: bool = False) -> Marker:
        """Write the marker durably, and return the current one: without ``replace``, a marker that
        another process wrote at the same time stays.
        """
        ...

    def expect(self, marker: Marker) -> None:
        """From now on, refuse writes and deletions if the marker differs from this one."""
        ...

    async def require_expected(self) -> None:
        """Raise WrongPlace if the marker is missing or differs from the expected one."""
        ...
