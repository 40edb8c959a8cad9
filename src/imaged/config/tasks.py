"""``[tasks]``: how many are worked on, whose, and how long they are remembered."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from imaged.config.sections import Section, setting
from imaged.config.types import Concurrency, Duration, NonNegativeInt, TypeLimits


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
    max_unfinished_per_owner: NonNegativeInt = setting(
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
    exports_per_destination: Concurrency = setting(
        2,
        "How many exports to one destination this instance works on at a time, beside concurrency: "
        "a destination that hangs holds up nobody else.",
        reloadable=True,
    )
    stalled_after: Duration = setting(
        "15m",
        "How long an attempt may make no progress, because a disk hangs for example; then it ends "
        "and counts as one. Steps with limits of their own, such as [fetch] and S3's, are theirs.",
        reloadable=True,
    )
    longest_pending: Duration = setting(
        "7d",
        "How long a task may wait whose type this instance does not know, or whose secret it "
        "cannot read; then it fails. Time to install what adds the type, or to bring the key "
        "back, here or on another instance.",
        reloadable=True,
    )
    key_file: str = setting(
        "/var/lib/imaged/task.key",
        "The key that secrets in tasks (tokens for other services) are encrypted with. It is made "
        "when it is needed first; instances that share a catalog need the same file.",
    )

    @model_validator(mode="after")
    def _require_positive_intervals(self) -> TasksSection:
        if not self.poll_every:
            raise ValueError("poll_every must be more than 0")
        if not self.stalled_after:
            raise ValueError("stalled_after must be more than 0")
        if not self.longest_pending:
            raise ValueError("longest_pending must be more than 0")
        return self
