"""The one Config: its sections, a setting in them by its path, and what a reload can apply."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any, get_type_hints

from pydantic.fields import FieldInfo

from imaged.config.api import LEAST_BUDGET_OF_PROCESS, MOST_AUTOMATIC_PROCESSES, ApiSection
from imaged.config.auth import AuthSection
from imaged.config.images import (
    DownloadsSection,
    ImagesSection,
    ReconcileSection,
    ScrubberSection,
    UploadsSection,
)
from imaged.config.notifications import NotificationsSection
from imaged.config.quotas import QuotasSection
from imaged.config.sections import (
    BackupSection,
    CatalogSection,
    ClaimsSection,
    DaemonSection,
    LogSection,
    MetricsSection,
    Role,
    Section,
    inner_tables,
    is_reloadable,
)
from imaged.config.stores import EXPORT_TYPES, STORE_TYPES, ExportsSection, StoresSection
from imaged.config.tasks import ConversionSection, FetchSection, TasksSection
from imaged.config.types import AUTOMATIC
from imaged.process import usable_processors

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """All sections of the configuration."""

    daemon: DaemonSection
    api: ApiSection
    auth: AuthSection
    catalog: CatalogSection
    claims: ClaimsSection
    stores: StoresSection
    images: ImagesSection
    uploads: UploadsSection
    downloads: DownloadsSection
    quotas: QuotasSection
    scrubber: ScrubberSection
    reconcile: ReconcileSection
    tasks: TasksSection
    exports: ExportsSection
    fetch: FetchSection
    conversion: ConversionSection
    log: LogSection
    metrics: MetricsSection
    backup: BackupSection
    notifications: NotificationsSection

    @property
    def answering_processes(self) -> int:
        """How many processes answer requests: 0 without this role. What "auto" chooses leaves each
        of them enough of ``uploads.transfer_budget``.
        """
        if "api" not in self.daemon.roles:
            return 0
        if self.api.processes != AUTOMATIC:
            return self.api.processes
        most = self.uploads.transfer_budget // LEAST_BUDGET_OF_PROCESS
        return max(1, min(usable_processors(), MOST_AUTOMATIC_PROCESSES, most))

    def with_roles(self, roles: Sequence[Role]) -> Config:
        """A copy for an instance with these roles."""
        return replace(self, daemon=self.daemon.model_copy(update={"roles": tuple(roles)}))

    def with_json_log(self) -> Config:
        """A copy with the log in JSON."""
        return replace(self, log=self.log.model_copy(update={"format": "json"}))


SECTIONS: Mapping[str, type[Section]] = get_type_hints(Config)


def _tables_in(model: type[Section], *path: str) -> Iterator[tuple[KeyPath, type[Section]]]:
    yield path, model
    for name, inner in inner_tables(model).items():
        yield from _tables_in(inner, *path, name)


#: Every table of a fixed name, by its path: the sections, and the tables in them, such as
#: ("auth", "keystone").
TABLES: Mapping[KeyPath, type[Section]] = {
    path: table for name, model in SECTIONS.items() for path, table in _tables_in(model, name)
}

#: Sections with a table for each name, and the models of these tables by ``type``.
TABLE_TYPES: Mapping[str, Mapping[str, type[Section]]] = {
    "stores": STORE_TYPES,
    "exports": EXPORT_TYPES,
}


def _models_at_path(path: Sequence[str]) -> Sequence[type[Section]]:
    """The models of the table at this path, such as ("uploads",) or ("stores", NAME)."""
    match tuple(path):
        case table if table in TABLES:
            return (TABLES[table],)
        case (section, _) if section in TABLE_TYPES:
            return tuple(TABLE_TYPES[section].values())
        case _:
            return ()


def field_at_path(path: Sequence[str]) -> FieldInfo | None:
    """The setting at this path, if any; it is the same in all types of stores."""
    fields = (model.model_fields.get(path[-1]) for model in _models_at_path(path[:-1]))
    return next((field for field in fields if field is not None), None)


@dataclass(frozen=True, slots=True)
class ConfigChanges:
    """The differences between two configurations."""

    config: Config  # the old one with the applied changes
    applied: dict[str, dict[str, object]]  # by key: {"from": …, "to": …}
    restart_needed: list[str]  # keys


def compare_configs(old: Config, new: Config) -> ConfigChanges:
    """Return ``old`` with the reloadable settings of ``new``, and the changed keys."""
    sections = {
        name: _compare_tables((name,), getattr(old, name), getattr(new, name)) for name in SECTIONS
    }
    applied: dict[str, dict[str, object]] = {}
    for compared in sections.values():
        applied |= compared.applied
    restart_needed = [key for compared in sections.values() for key in compared.restart_needed]
    config = Config(**{name: compared.table for name, compared in sections.items()})
    return ConfigChanges(config, dict(sorted(applied.items())), sorted(restart_needed))


@dataclass(frozen=True, slots=True)
class _ComparedTable:
    """A table with its applied changes, and the keys of those and of the others."""

    table: Any
    applied: dict[str, dict[str, object]]
    restart_needed: list[str]


def _compare_tables(path: KeyPath, before: Section, after: Section) -> _ComparedTable:
    applied: dict[str, dict[str, object]] = {}
    restart_needed: list[str] = []
    update: dict[str, Any] = {}
    inner = inner_tables(type(before))
    for name in inner:
        compared = _compare_tables((*path, name), getattr(before, name), getattr(after, name))
        applied |= compared.applied
        restart_needed += compared.restart_needed
        update[name] = compared.table
    was, is_now = (table.model_dump(exclude={*inner}) for table in (before, after))
    for key in was.keys() | is_now.keys():
        if was.get(key) == is_now.get(key):
            continue
        name = ".".join((*path, key))
        if is_reloadable(field_at_path((*path, key))):
            update[key] = getattr(after, key)
            applied[name] = {"from": was[key], "to": is_now[key]}
        else:
            restart_needed.append(name)
    table = before.model_copy(update=update) if update else before
    return _ComparedTable(table, applied, restart_needed)


def _table_at(config: Config, path: KeyPath) -> Section:
    table: Section = getattr(config, path[0])
    return reduce(getattr, path[1:], table)


def named_files(config: Config) -> Mapping[str, Path]:
    """The files that settings name, by setting: passwords, tokens, keys and certificates."""
    sections: dict[str, Section] = {".".join(path): _table_at(config, path) for path in TABLES}
    for name in TABLE_TYPES:
        tables: Mapping[str, Section] = getattr(config, name).by_name
        sections |= {f"{name}.{table}": section for table, section in tables.items()}
    return {
        f"{path}.{key}": Path(value)
        for path, section in sections.items()
        for key in type(section).model_fields
        if key.endswith("_file") and (value := getattr(section, key))
    }
