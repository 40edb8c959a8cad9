"""The names of what is not a file yet: ``.imaged-<task id>.<attempt>``."""

from __future__ import annotations

import re

from imaged.ports.export import Parcel

PREFIX = ".imaged-"
NAME = re.compile(r"\.imaged-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[0-9a-f]{32}")


def unfinished_name(parcel: Parcel) -> str:
    """Where an attempt writes."""
    return f"{PREFIX}{parcel.task_id}.{parcel.attempt.hex}"


def task_of(name: str) -> str | None:
    """The task that wrote it; None where it is nothing of ours."""
    found = NAME.fullmatch(name)
    return found and found[1]
