"""Settings: each has a name, a default and a reason.

A section is a table of the file. Sections of a few settings are here; the others have modules of
their own, and ``model.py`` lists all of them. Defaults are written as operators write them. Tests
compare the reference page and ``config/imaged.toml`` with the sections.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.fields import FieldInfo

from imaged.config.types import (
    Duration,
    MetricsAddress,
    NonEmptyTuple,
    OptionalFolderPath,
    PlainTuple,
    WrongSetting,
)
from imaged.config.urls import CatalogUrl

Role = Literal["api", "scrubber", "tasks"]


def setting(default: object, reason: str, *, reloadable: bool = False, in_repr: bool = True) -> Any:
    """A setting; the default is as operators write it."""
    extra: dict[str, Any] = {"reloadable": reloadable}
    return Field(default, description=reason, json_schema_extra=extra, repr=in_repr)


def required(reason: str) -> Any:
    """A setting without a default."""
    return Field(description=reason)


def secret(reason: str) -> Any:
    """A setting that no settings file may contain; ``secrets.py`` says where it comes from."""
    return Field(default=None, description=reason, json_schema_extra={"secret": True})


def is_reloadable(field: FieldInfo | None) -> bool:
    """Whether SIGHUP applies a change of this setting."""
    return _mark(field, "reloadable")


def is_secret(field: FieldInfo | None) -> bool:
    """Whether the value of this setting must never be shown."""
    return _mark(field, "secret")


def _mark(field: FieldInfo | None, name: str) -> bool:
    extra = None if field is None else field.json_schema_extra
    return isinstance(extra, dict) and extra.get(name) is True


class Section(BaseModel):
    """A table of the file; unknown keys and other types are errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        strict=True,
        validate_default=True,
    )


def inner_tables(model: type[Section]) -> Mapping[str, type[Section]]:
    """The tables of fixed names in a table, such as ``keystone`` in ``[auth]``, by name."""
    return {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def settings_in(model: type[Section]) -> Mapping[str, FieldInfo]:
    """The settings of a table, without those of tables in it."""
    inner = inner_tables(model)
    return {name: field for name, field in model.model_fields.items() if name not in inner}


class DaemonSection(Section):
    """The process."""

    name: str = setting(
        "", "The name of this instance, in claims and in the log; default: host and process."
    )
    roles: NonEmptyTuple[Role] = setting(
        ["api", "scrubber", "tasks"],
        "What this instance does: answer requests, scrub (and reconcile), work on tasks. An "
        'instance without "scrubber" needs another one, or imaged-scrubber.service, beside it; '
        'without "tasks" it accepts tasks that others work on, such as imaged-tasks.service. '
        'One with only "tasks" has the lowest priority.',
    )
    drain_timeout: Duration = setting(
        "5m",
        "How long a stopping instance waits for transfers in flight; unfinished uploads are then "
        "given back and can be sent again. imaged asks systemd for this time.",
        reloadable=True,
    )

    @property
    def has_worker_process(self) -> bool:
        """Whether it answers requests and works on tasks, and so needs a process for tasks."""
        return {"api", "tasks"} <= set(self.roles)

    @property
    def is_worker_only(self) -> bool:
        """Whether it only works on tasks, so that no caller waits for it."""
        return set(self.roles) == {"tasks"}


class CatalogSection(Section):
    """The database of records."""

    url: CatalogUrl = setting(
        "sqlite:////var/lib/imaged/catalog.db",
        'The database: "sqlite:////path/of/a/file", for instances on one machine and not on a '
        "network filesystem, where SQLite's locks do not hold; or "
        '"postgresql://user@host/database", for instances anywhere.',
        in_repr=False,  # in the environment it may have a password
    )
    password_file: str = setting(
        "",
        "The file with the password of PostgreSQL's role, read for every new connection. Default: "
        "PGPASSWORD, or ~/.pgpass.",
    )


class ClaimsSection(Section):
    """Leases: how long an instance may hold images and tasks without renewal."""

    lease: Duration = setting(
        "60s",
        "How long an instance may be silent until others take its work back. Shorter means "
        "quicker recovery after a crash, and less patience with a slow disk.",
    )
    renew_every: Duration = setting(
        "10s",
        "How often an instance renews its leases, and takes back the work of dead instances. The "
        "lease must be three times as long, so that one lost renewal does not end an upload.",
    )

    @model_validator(mode="after")
    def _require_long_lease(self) -> ClaimsSection:
        if not self.renew_every:
            raise WrongSetting("renew_every", "must be more than 0")
        if self.lease < 3 * self.renew_every:
            raise WrongSetting("lease", "must be at least three times renew_every")
        return self


class LogSection(Section):
    """The log."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The lowest level that is written.", reloadable=True
    )
    format: Literal["auto", "console", "json", "journal"] = setting(
        "auto",
        '"console": coloured, for people; "json": an object per line; "journal": fields for '
        '`journalctl FIELD=value`. "auto": the journal under systemd, coloured on a terminal, JSON '
        "otherwise.",
    )


class MetricsSection(Section):
    """Where /metrics is served, for Prometheus."""

    bind: PlainTuple[MetricsAddress] = setting(
        [],
        'Addresses of their own, such as "127.0.0.1:9293" or "unix:/run/imaged/metrics.sock", each '
        "instance another: every client that can connect is answered there, unless there is a "
        'token_file. "api": also at the addresses of api.bind, which proxies open to others: only '
        "with the token. []: nowhere.",
    )
    token_file: str = setting(
        "",
        "The file with the token that readers must send (Authorization: Bearer), in its only line. "
        'Default: no token is required; "api" requires one.',
        reloadable=True,
    )


class BackupSection(Section):
    """Where backups are made."""

    folder: OptionalFolderPath = setting(
        "",
        "The folder for `imaged backup`, if it is given none. It must exist, so that a missing "
        "mount is noticed. The time of the newest backup there is in the metrics; `imaged status` "
        "and `imaged doctor` warn if it is older than two days. Default: none.",
    )
