"""Settings: each has a name, a default, a reason, and somebody who reads it.

A section is a table of the file. Those of a few settings are here; the others have modules of their
own, and ``model.py`` has all of them. Defaults stand as operators write them. The reference page
and ``config/imaged.toml`` are tested against the sections.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaged.config.types import CatalogUrl, Duration, MetricsAddress, NonEmptyTuple, PlainTuple

Role = Literal["api", "scrubber", "tasks"]


def setting(default: object, reason: str, *, reloadable: bool = False, in_repr: bool = True) -> Any:
    """A setting with its default, as operators would write it."""
    extra: dict[str, Any] = {"reloadable": reloadable}
    return Field(default, description=reason, json_schema_extra=extra, repr=in_repr)


def required(reason: str) -> Any:
    """A setting without a default."""
    return Field(description=reason)


def secret(reason: str) -> Any:
    """A setting that no file of settings may hold: see ``secrets.py`` for where it comes from."""
    return Field(default=None, description=reason, json_schema_extra={"secret": True})


class Section(BaseModel):
    """A table of the file. Strict: no other keys, no other types."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        strict=True,
        validate_default=True,
    )


class DaemonSection(Section):
    """The process."""

    name: str = setting("", "Who works here, in claims and in the log; default: host and process.")
    roles: NonEmptyTuple[Role] = setting(
        ["api", "scrubber", "tasks"],
        "What this instance does: answer requests, scrub (and reconcile), work on tasks. An "
        'instance without "scrubber" needs another one, or imaged-scrubber.service, beside it; '
        'without "tasks" it accepts tasks that others work on, such as imaged-tasks.service. One '
        'with "tasks" alone leaves the processors to everybody else.',
    )
    drain_timeout: Duration = setting(
        "5m",
        "How long a stopping instance waits for transfers in flight; what is not finished then is "
        "given back and can be sent again. systemd is asked for that much time.",
        reloadable=True,
    )

    @property
    def has_worker_process(self) -> bool:
        """Whether somebody waits for its answers while it works on tasks."""
        return {"api", "tasks"} <= set(self.roles)

    @property
    def is_worker_only(self) -> bool:
        """Whether nobody waits for what this instance does: it works on tasks, and that is all."""
        return set(self.roles) == {"tasks"}


class AuthSection(Section):
    """Who may come in."""

    method: Literal["none", "token"] = setting(
        "none",
        '"none": everybody who can connect is an administrator, but for pages of the web in a '
        "browser: what they send is refused, and so is a Host other than localhost and that of "
        'api.public_url. "token": callers show a token that token_file knows.',
    )
    token_file: str = setting(
        "",
        'The file of hashed tokens for method "token"; `imaged token` makes its entries.',
        reloadable=True,
    )
    allow_anyone_on_the_network: bool = setting(
        False,  # noqa: FBT003 - the value that the setting has
        'With method "none", listen also where others than this machine can connect. '
        "Everybody who reaches the port then reads, changes and deletes every image.",
    )


class CatalogSection(Section):
    """Where facts are kept."""

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
    """How an instance keeps hold of the images that it works on."""

    lease: Duration = setting(
        "60s",
        "How long an instance may be silent until others take its work back. Shorter means "
        "quicker recovery after a crash, and less patience with a slow disk.",
    )
    renew_every: Duration = setting(
        "10s",
        "How often an instance says that it is alive, and looks for work of dead ones. The lease "
        "must be three times as long, so that one lost renewal does not end an upload.",
    )

    @model_validator(mode="after")
    def _require_long_lease(self) -> ClaimsSection:
        if not self.renew_every:
            raise ValueError("renew_every must be more than 0")
        if self.lease < 3 * self.renew_every:
            raise ValueError("lease must be at least three times renew_every")
        return self


class LogSection(Section):
    """What is told, and how."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        "info", "The least important lines that are written.", reloadable=True
    )
    format: Literal["auto", "console", "json", "journal"] = setting(
        "auto",
        '"console": coloured, for people; "json": an object per line; "journal": fields for '
        '`journalctl FIELD=value`. "auto": the journal under systemd, coloured on a terminal, JSON '
        "otherwise.",
    )


class MetricsSection(Section):
    """Where figures for Prometheus are told, at /metrics."""

    bind: PlainTuple[MetricsAddress] = setting(
        [],
        'Addresses of their own, such as "127.0.0.1:9293" or "unix:/run/imaged/metrics.sock", each '
        "instance another: there everybody is answered who can connect, unless there is a "
        'token_file. "api": at the addresses of api.bind too, where proxies bring everybody: to '
        "those who show the token. []: nowhere, until you have decided who may read them.",
    )
    token_file: str = setting(
        "",
        "The file of the token that readers must show (Authorization: Bearer), in its only line. "
        'Default: none is asked for; "api" needs one.',
        reloadable=True,
    )
