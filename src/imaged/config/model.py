"""The one Config: its sections, and how to find a setting in them by its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_type_hints

from pydantic.fields import FieldInfo

from imaged.config.sections import (
    ApiSection,
    AuthSection,
    CatalogSection,
    ClaimsSection,
    DaemonSection,
    FilesystemSection,
    LogSection,
    ReconcileSection,
    Role,
    ScrubberSection,
    Section,
    StoresSection,
    UploadsSection,
)


@dataclass(frozen=True, slots=True)
class Config:
    """All of it."""

    daemon: DaemonSection
    api: ApiSection
    auth: AuthSection
    catalog: CatalogSection
    claims: ClaimsSection
    stores: StoresSection
    uploads: UploadsSection
    scrubber: ScrubberSection
    reconcile: ReconcileSection
    log: LogSection

    def with_roles(self, roles: Sequence[Role]) -> Config:
        """The same for an instance that does only this."""
        return replace(self, daemon=self.daemon.model_copy(update={"roles": tuple(roles)}))


SECTIONS: Mapping[str, type[Section]] = get_type_hints(Config)


def model_at(path: Sequence[str]) -> type[Section] | None:
    """The table at this path: ("uploads",), or ("stores", NAME) for any name."""
    match tuple(path):
        case (section,):
            return SECTIONS.get(section)
        case ("stores", _):
            return FilesystemSection
        case _:
            return None


def field_at(path: Sequence[str]) -> FieldInfo | None:
    """The setting at this path."""
    model = model_at(path[:-1])
    return None if model is None else model.model_fields.get(path[-1])
