"""The status line of ``systemctl status``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from imaged.core.limits import GIB
from imaged.daemon.status_reporter import Activity, short_duration, status_line

LINES = {
    "everything": (
        Activity(
            uploads=3,
            received_bytes_per_second=1.2 * GIB,
            tasks=2,
            pending_delete=17,
            next_scrub=timedelta(seconds=42),
        ),
        "ready: 3 uploads (1.2 GiB/s), 2 tasks, 17 pending delete, next scrub 42 s",
    ),
    "nothing to do": (
        Activity(uploads=0, tasks=0, pending_delete=0, next_scrub=timedelta(seconds=9.9)),
        "ready: 0 uploads, 0 tasks, 0 pending delete, next scrub 10 s",
    ),
    "one of each": (
        Activity(
            uploads=1,
            received_bytes_per_second=512.7,
            downloads=1,
            sent_bytes_per_second=350 * 1024**2,
            tasks=1,
            pending_delete=1,
            next_scrub=timedelta(0),
        ),
        "ready: 1 upload (512 B/s), 1 download (350.0 MiB/s), 1 task, 1 pending delete, scrubbing",
    ),
    "an upload that stands still": (Activity(uploads=1), "ready: 1 upload (0 B/s)"),
    "the end of an upload": (
        Activity(uploads=0, received_bytes_per_second=5.0 * GIB),
        "ready: 0 uploads",
    ),
    "a scrubber": (
        Activity(pending_delete=17, next_scrub=timedelta(minutes=5)),
        "ready: 17 pending delete, next scrub 5 min",
    ),
    "nothing is known": (Activity(), "ready: idle"),
}


@pytest.mark.parametrize("case", LINES)
def test_the_line_tells_what_is_going_on(case: str) -> None:
    """Unknown values, and those of other roles, are left out."""
    activity, line = LINES[case]

    assert status_line("ready", activity) == line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "1 s"),
        (42, "42 s"),
        (119, "119 s"),
        (120, "2 min"),
        (7140, "119 min"),
        (7141, "2 h"),
        (7200, "2 h"),
        (86_400, "24 h"),
    ],
)
def test_durations_can_be_read_at_a_glance(seconds: float, text: str) -> None:
    """A duration has one unit and is rounded up."""
    assert short_duration(timedelta(seconds=seconds)) == text
