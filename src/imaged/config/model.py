"""The one Config: its sections, and how to find a setting in them by its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_type_hints

from pydantic.fields import FieldInfo

from imaged.config.api import ApiSection
from imaged.config.conversion import ConversionSection
from imaged.config.downloads import DownloadsSection
from imaged.config.exports import EXPORT_TYPES, ExportsSection
from imaged.config.fetch import FetchSection
from imaged.config.reconcile import ReconcileSection
from imaged.config.scrubber import ScrubberSection
from imaged.config.sections import (
    AuthSection,
    CatalogSection,
    ClaimsSection,
    DaemonSection,
    LogSection,
    MetricsSection,
    Role,
    Section,
)
from imaged.config.stores import STORE_TYPES, StoresSection
from imaged.config.tasks import TasksSection
from imaged.config.uploads import UploadsSection


@dataclass(frozen=True, slots=True)
class Config:
    """All sections of the configuration."""

    daemon: DaemonSection
    api: ApiSection
    auth: AuthSection
    catalog: CatalogSection
    claims: ClaimsSection
    stores: StoresSection
    uploads: UploadsSection
    downloads: DownloadsSection
    scrubber: ScrubberSection
    reconcile: ReconcileSection
    tasks: TasksSection
    exports: ExportsSection
    fetch: FetchSection
    conversion: ConversionSection
    log: LogSection
    metrics: MetricsSection

    def with_roles(self, roles: Sequence[Role]) -> Config:
        """A copy for an instance with these roles."""
        return replace(self, daemon=self.daemon.model_copy(update={"roles": tuple(roles)}))

    def with_json_log(self) -> Config:
        """A copy with the log in JSON."""
        return replace(self, log=self.log.model_copy(update={"format": "json"}))


SECTIONS: Mapping[str, type[Section]] = get_type_hints(Config)


def models_at_path(path: Sequence[str]) -> Sequence[type[Section]]:
    """The models of the table at this path, such as ("uploads",) or ("stores", NAME)."""
    match tuple(path):
        case (section,) if section in SECTIONS:
            return (SECTIONS[section],)
        case ("stores", _):
            return tuple(STORE_TYPES.values())
        case ("exports", _):
            return tuple(EXPORT_TYPES.values())
        case _:
            return ()


def field_at_path(path: Sequence[str]) -> FieldInfo | None:
    """The setting at this path, if any; it is the same in all types of stores."""
    fields = (model.model_fields.get(path[-1]) for model in models_at_path(path[:-1]))
    return next((field for field in fields if field is not None), None)
