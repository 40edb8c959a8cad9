"""A backend with a second store beside that of another backend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from support.backend import Backend, FolderBackend, Sections, ServersBackend

SECOND_STORE = "other"


@dataclass(frozen=True)
class TwoStoreBackend:
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
        name = f"stores.{SECOND_STORE}"
        return {**self.first.sections, name: self.second.sections[name]}

    @property
    def environment(self) -> Mapping[str, str]:
        """Of both."""
        return {**self.first.environment, **self.second.environment}

    async def keys(self) -> set[str]:
        """The keys of all bytes in both."""
        return await self.first.keys() | await self.second.keys()


def with_second_store(backend: FolderBackend | ServersBackend) -> TwoStoreBackend:
    """A second store of the same kind beside the first."""
    if isinstance(backend, FolderBackend):
        return TwoStoreBackend(backend, FolderBackend(backend.folder / SECOND_STORE, SECOND_STORE))
    return TwoStoreBackend(
        backend, replace(backend, prefix=f"{backend.prefix}-{SECOND_STORE}", store=SECOND_STORE)
    )
