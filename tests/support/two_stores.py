"""A backend with a second store beside that of another backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from support.backend import Backend, Folder, Sections, Servers

OTHER = "other"


@dataclass(frozen=True)
class TwoStores:
    """Is a Backend. The second store is called ``other``."""

    first: Backend
    second: Backend

    @property
    def store(self) -> str:
        """The default store."""
        return self.first.store

    @property
    def sections(self) -> Sections:
        """Of both; the catalog is that of the first."""
        name = f"stores.{OTHER}"
        return {**self.first.sections, name: self.second.sections[name]}

    @property
    def environment(self) -> Mapping[str, str]:
        """Of both."""
        return {**self.first.environment, **self.second.environment}

    async def keys(self) -> set[str]:
        """The keys of all bytes in both."""
        return await self.first.keys() | await self.second.keys()


def with_another(backend: Folder | Servers) -> TwoStores:
    """A second store of the same kind beside the first."""
    if isinstance(backend, Folder):
        return TwoStores(backend, Folder(backend.folder / OTHER, OTHER))
    return TwoStores(backend, replace(backend, prefix=f"{backend.prefix}-{OTHER}", store=OTHER))
