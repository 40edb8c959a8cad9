"""Every setting: its name, its default and its reason. Nothing here is without a reader.

Defaults stand as operators write them. The reference page and ``config/imaged.toml`` are tested
against this module.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from imaged.config.values import (
    AnyNumber,
    BindAddress,
    CatalogUrl,
    Concurrency,
    Count,
    Duration,
    HashAlgorithm,
    Many,
    MetricsAddress,
    PublicUrl,
    Several,
    Share,
    Size,
    TypeLimits,
)

Role = Literal["api", "scrubber", "tasks"]

SMALLEST_HEADER_BYTES = 4096  # clients could not show their tokens


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
    roles: Several[Role] = setting(
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


class ApiSection(Section):
    """Where requests come in."""

    bind: Several[BindAddress] = setting(
        ["127.0.0.1:9292"],
        'Addresses to listen on: "host:port", "[IPv6]:port", "unix:/path". Loopback only, until '
        "you have decided who may come in.",
    )
    public_url: PublicUrl = setting(
        "",
        "What links in answers begin with, where a proxy stands before imaged; default: the "
        "request's own address.",
    )
    max_connections: Many = setting(
        2048,
        "How many connections may be open; others get 503 at once. Each holds up to 400 KiB beside "
        "uploads.transfer_budget, an idle one 20 KiB, and takes one of LimitNOFILE.",
        reloadable=True,
    )
    max_connections_per_address: Many = setting(
        1536,
        "The same for one client: an IPv4 address, or an IPv6 network of 64 bits. Less than all, "
        "so that one alone shuts out nobody; a proxy needs room for all of its clients. Unix "
        "sockets are not counted.",
        reloadable=True,
    )
    header_timeout: Duration = setting(
        "15s",
        "How long the header of a request may take, from connecting or from its first byte on; "
        "then 408. Headers are small: who needs longer wants to hold the connection.",
        reloadable=True,
    )
    max_header_size: Size = setting(
        "32KiB",
        "The largest header of a request; larger ones get 431. Tokens are the largest part: "
        "Fernet's have 300 bytes, PKI's had 8 KiB.",
        reloadable=True,
    )
    min_rate: Size = setting(
        "1KiB",
        "Bytes per second that a client must send of a body (or else 408, and the upload is given "
        "back) or read of an answer (or else it is broken off). Time in which it waits for imaged "
        'is not counted. "0": any.',
        reloadable=True,
    )
    min_rate_window: Duration = setting(
        "30s",
        "Over how long min_rate is averaged: how long a client may stall that was quick before.",
        reloadable=True,
    )
    idle_timeout: Duration = setting(
        "75s",
        "How long a connection is kept after an answer, for the next request. Longer than most "
        "proxies keep theirs, so that it is they who close.",
        reloadable=True,
    )
    linger: Duration = setting(
        "2s",
        "How long the rest of a refused body is read away, so that a client that is still sending "
        "comes to read why.",
        reloadable=True,
    )

    @model_validator(mode="after")
    def _leave_time(self) -> ApiSection:
        for name in ("header_timeout", "min_rate_window", "idle_timeout"):
            if not getattr(self, name):
                raise ValueError(f"{name} must be more than 0")
        if self.max_header_size < SMALLEST_HEADER_BYTES:
            raise ValueError("max_header_size must be at least 4KiB")
        return self


class AuthSection(Section):
    """Who may come in."""

    method: Literal["none", "token"] = setting(
        "none",
        '"none": everybody who can connect is an administrator. "token": callers show a token '
        "that token_file knows.",
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
    def _hold_the_lease(self) -> ClaimsSection:
        if not self.renew_every:
            raise ValueError("renew_every must be more than 0")
        if self.lease < 3 * self.renew_every:
            raise ValueError("lease must be at least three times renew_every")
        return self


class UploadsSection(Section):
    """What is accepted as an image's data."""

    max_size: Size = setting(
        "1TiB", "The largest image that is accepted; larger ones get 413.", reloadable=True
    )
    on_failure: Literal["requeue", "kill"] = setting(
        "requeue",
        'What becomes of an image whose upload failed: "requeue" lets its owner try again, "kill" '
        "leaves a killed record, as the first version of the API did.",
        reloadable=True,
    )
    staged_time_to_live: Duration = setting(
        "24h",
        "How long staged data waits for its import; then it goes and the image is queued again.",
        reloadable=True,
    )
    transfer_budget: Size = setting(
        "256MiB",
        "Memory for bytes in flight, all transfers together. When it is used up, transfers get "
        "slower instead of memory larger.",
    )
    hash_algorithm: HashAlgorithm = setting(
        "sha512",
        "The second digest of every image, beside md5 (the checksum that the API asks for).",
        reloadable=True,
    )
    check_format: bool = setting(
        default=True,
        reason="Refuse data that is not of the declared disk_format.",
        reloadable=True,
    )
    refuse_unsafe: bool = setting(
        default=True,
        reason="Refuse disk images that make their reader open other files, such as a qcow2 with "
        "a backing file.",
        reloadable=True,
    )


class ScrubberSection(Section):
    """When deleted images really go."""

    delay: Duration = setting(
        "24h",
        "How long a deleted image can be restored. Counted from its deletion with the delay "
        'configured now: a lower one frees space at the next round. "0" frees at once.',
        reloadable=True,
    )
    every: Duration = setting(
        "30s",
        'How often the scrubber looks for what is due; "0": never by itself.',
        reloadable=True,
    )
    concurrency: Concurrency = setting(
        4,
        "How many blobs are deleted at the same time; more helps slow stores only.",
        reloadable=True,
    )
    keep_records: Duration = setting(
        "30d",
        "How long the record of a deleted image stays; after that only its id does, so that it is "
        "never used again.",
        reloadable=True,
    )


class ReconcileSection(Section):
    """Comparing catalog and stores: it finds what only double faults can leave."""

    every: Duration = setting(
        "6h", 'How often both are compared; "0": never by itself.', reloadable=True
    )
    quarantine: Duration = setting(
        "24h",
        "How long bytes without a row wait until they are deleted: time to notice that a catalog "
        "was restored from an old backup.",
        reloadable=True,
    )
    max_strays: Count = setting(
        100,
        "The brake: up to so many blobs without a row are no surprise. Where there are more, and "
        "more than max_share, nothing is doomed and the log says so.",
        reloadable=True,
    )
    max_share: Share = setting(
        0.01,
        "The same as a share of all blobs; the larger of the two counts.",
        reloadable=True,
    )


class TasksSection(Section):
    """Long work on images, beside the calls that boot machines."""

    concurrency: Concurrency = setting(
        4,
        "How many tasks this instance works on at a time. More get done sooner where they wait for "
        "others' networks, and take more from everything else where they do not.",
        reloadable=True,
    )
    limits: TypeLimits = setting(
        [],
        'How many of one type, where it may not have all of them: ["convert=2", "import=3"].',
        reloadable=True,
    )
    time_to_live: Duration = setting(
        "48h",
        "How long the record of a task stays after its end; what it made stays anyway. Counted as "
        "configured when the task was made.",
        reloadable=True,
    )
    access: Literal["members", "admins"] = setting(
        "members",
        '"members": everybody makes and sees tasks of his own project. "admins": nobody else does.',
        reloadable=True,
    )
    max_unfinished_per_owner: Count = setting(
        100,
        "How many tasks a project may have that wait or are worked on; more are refused with 413. "
        "0: as many as it likes.",
        reloadable=True,
    )
    poll_every: Duration = setting(
        "2s",
        "How often this instance looks for tasks that others accepted, or gave back; its own it "
        "begins at once.",
        reloadable=True,
    )
    key_file: str = setting(
        "/var/lib/imaged/task.key",
        "The key that secrets in tasks (tokens for other services) are encrypted with. It is made "
        "when it is needed first; instances that share a catalog need the same file.",
    )

    @model_validator(mode="after")
    def _look_now_and_then(self) -> TasksSection:
        if not self.poll_every:
            raise ValueError("poll_every must be more than 0")
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

    bind: AnyNumber[MetricsAddress] = setting(
        ["api"],
        '"api": at the addresses of api.bind, for requests of this machine that no proxy passed '
        'on; others get 403. Or addresses of their own, such as "127.0.0.1:9293" or '
        '"unix:/run/imaged/metrics.sock", which an instance without the role "api" needs: there '
        "everybody is answered who can connect. []: nowhere.",
    )
