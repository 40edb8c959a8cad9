"""The status line of ``systemctl status``."""

from __future__ import annotations

from datetime import timedelta

import pytest

from imaged.core.limits import GIB
from imaged.daemon.systemd import Activity, status_line

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
