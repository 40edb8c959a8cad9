"""Downloads that a proxy before this service sends, because it is told where their files are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from imaged.core.image import Location


@dataclass(frozen=True, slots=True)
class DelegatedFile:
    """The header that names a file to a proxy, and its value."""

    header: str
    value: str


@dataclass(frozen=True, slots=True)
class Delegation:
    """``folders``: what stands before a blob's key, by the name of its store."""

    header: str
    folders: Mapping[str, str]

    def file(self, location: Location) -> DelegatedFile | None:
        """Where the proxy finds these bytes; None if their store is not one of these folders."""
        folder = self.folders.get(location.store)
        return None if folder is None else DelegatedFile(self.header, f"{folder}{location.key}")
