"""Formats the line that ``systemctl status`` shows: the current activity of an instance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from imaged.units import approximate_size, pluralize

MANY_SECONDS = 120  # from here on, in minutes
MANY_MINUTES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """The activity of an instance. None: unknown, or outside the roles of the instance."""

    uploads: int | None = None
    received_bytes_per_second: float = 0.0
    downloads: int = 0
    sent_bytes_per_second: float = 0.0
    tasks: int | None = None  # run by this instance
    pending_delete: int | None = None  # images, on the whole catalog
    next_scrub: timedelta | None = None  # 0: now


def status_line(state: str, activity: Activity) -> str:
    """Return ``ready: 3 uploads (1.2 GiB/s), 2 tasks, 17 pending delete, next scrub 42 s``."""
    return f"{state}: {', '.join(_facts(activity)) or 'idle'}"


def short_duration(duration: timedelta) -> str:
    """Return a duration in one unit: ``42 s``, ``5 min``, ``6 h``.

    It is rounded up, because all callers report waiting times.
    """
    seconds = ceil(duration.total_seconds())
    if seconds < MANY_SECONDS:
        return f"{seconds} s"
    minutes = ceil(seconds / 60)
    return f"{minutes} min" if minutes < MANY_MINUTES else f"{ceil(minutes / 60)} h"


def _facts(activity: Activity) -> Iterator[str]:
    if activity.uploads is not None:
        yield _transfers(activity.uploads, "upload", activity.received_bytes_per_second)
    if activity.downloads:
        yield _transfers(activity.downloads, "download", activity.sent_bytes_per_second)
    if activity.tasks is not None:
        yield pluralize(activity.tasks, "task")
    if activity.pending_delete is not None:
        yield f"{activity.pending_delete} pending delete"
    if activity.next_scrub is not None:
        yield (
            f"next scrub {short_duration(activity.next_scrub)}"
            if activity.next_scrub
            else "scrubbing"
        )


def _transfers(count: int, what: str, bytes_per_second: float) -> str:
    speed = f" ({approximate_size(int(bytes_per_second))}/s)" if count else ""
    return pluralize(count, what) + speed
