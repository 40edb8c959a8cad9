"""``[tasks]``, and the limits of what they use: ``[fetch]`` and ``[conversion]``."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from imaged.config.sections import Section, setting
from imaged.config.types import (
    Concurrency,
    Duration,
    FolderPath,
    Network,
    NonEmptyTuple,
    NonNegativeInt,
    PlainTuple,
    Port,
    Size,
    TypeLimits,
    WrongSetting,
)


class TasksSection(Section):
    """Long work on images, in the background."""

    concurrency: Concurrency = setting(
        4,
        "How many tasks this instance works on at a time. More help if tasks wait for networks, "
        "and otherwise slow everything else down.",
        reloadable=True,
    )
    limits: TypeLimits = setting(
        [],
        'The maximum of one type, below concurrency: ["convert=2", "import=3"].',
        reloadable=True,
    )
    time_to_live: Duration = setting(
        "48h",
        "How long the record of a task is kept after its end; its results stay. The value at the "
        "creation of the task counts.",
        reloadable=True,
    )
    access: Literal["members", "admins"] = setting(
        "members",
        '"members": members create and see tasks of their own project. "admins": only admins do.',
        reloadable=True,
    )
    max_unfinished_per_owner: NonNegativeInt = setting(
        100,
        "How many unfinished tasks a project may have; more are refused with 413. 0: no limit.",
        reloadable=True,
    )
    poll_every: Duration = setting(
        "2s",
        "How often this instance looks for tasks that others accepted or gave back; it begins its "
        "own tasks at once.",
        reloadable=True,
    )
    exports_per_destination: Concurrency = setting(
        2,
        "How many exports to one destination this instance works on at a time, beside concurrency: "
        "a destination that hangs delays no other task.",
        reloadable=True,
    )
    stalled_after: Duration = setting(
        "15m",
        "How long an attempt may make no progress, because a disk hangs for example; then it ends "
        "and counts. Steps with limits of their own, such as [fetch] and S3, use those.",
        reloadable=True,
    )
    longest_pending: Duration = setting(
        "7d",
        "How long a task may wait whose type this instance does not know, or whose secret it "
        "cannot read; then it fails. Time to install the package of the type, or to restore the "
        "key, here or on another instance.",
        reloadable=True,
    )
    key_file: str = setting(
        "/var/lib/imaged/task.key",
        "The key that encrypts secrets in tasks (tokens for other services). imaged creates it at "
        "the first need; instances that share a catalog need the same file.",
    )

    @model_validator(mode="after")
    def _require_positive_intervals(self) -> TasksSection:
        if not self.poll_every:
            raise WrongSetting("poll_every", "must be more than 0")
        if not self.stalled_after:
            raise WrongSetting("stalled_after", "must be more than 0")
        if not self.longest_pending:
            raise WrongSetting("longest_pending", "must be more than 0")
        return self


class FetchSection(Section):
    """Fetching of data from other hosts, by tasks."""

    allow: PlainTuple[Network] = setting(
        [],
        "Networks beyond the public internet that may be fetched from. Otherwise every private, "
        "local or reserved address is refused: users who import could reach services that trust "
        "this server.",
    )
    ports: NonEmptyTuple[Port] = setting(
        [80, 443],
        "The ports that may be connected to, also after a redirect.",
    )
    total_time: Duration = setting("12h", "How long one fetch may take, with all its resumptions.")
    min_rate: Size = setting(
        "10KiB",
        "Bytes per second that must arrive, on average over half a minute; from a slower server "
        "the rest is requested again.",
    )
    ca_file: str = setting(
        "",
        "A file with the certificates of authorities to trust, in PEM. Default: the system's.",
    )


class ConversionSection(Section):
    """Conversion of disks, by child processes in a sandbox."""

    scratch: FolderPath = setting(
        "/var/lib/imaged/scratch",
        "The folder for files of running conversions: needs room for the source and the result of "
        "each. Leftovers of a crash are removed.",
    )
    min_free: Size = setting(
        "1GiB",
        "Space that must stay free there, because the catalog is often on the same disk; a "
        "conversion that would need it fails.",
    )
    memory: Size = setting("1GiB", "The maximum memory of one qemu-img process.")
    cpu_time: Duration = setting("1h", "The maximum processor time of one conversion.")
    time: Duration = setting("4h", "The maximum duration of one conversion.")
