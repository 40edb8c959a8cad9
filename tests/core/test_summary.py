"""What instances report, as other versions read it."""

from __future__ import annotations

import msgspec
import pytest

from imaged.core.summary import InstanceReport, StoreSpace

#: Reports as versions have written them; a row is added when fields change, and none changes.
SPACES = {"local": {"size_bytes": 1000, "free_bytes": 500, "min_free_bytes": 10}}
REPORTS: list[dict[str, object]] = [
    {},
    {
        "spaces": SPACES,
        "failing_parts": ["store far"],
        "reconciled_ago_seconds": 1.5,
        "missing_blobs": 3,
        "reloaded_ago_seconds": None,
        "is_reload_rejected": True,
    },
    {
        "spaces": SPACES,
        "failing_part_seconds": {"store far": 2.5},
        "missing_blobs": 3,
        "requests": {"answered": 9, "failed": 2, "refused": 3},
        "of_a_version_to_come": [1],
    },
]


@pytest.mark.parametrize("report", REPORTS)
def test_reports_of_other_versions_are_read(report: dict[str, object]) -> None:
    """During an upgrade both versions show the state of all instances."""
    read = msgspec.convert(report, InstanceReport)

    assert read.missing_blobs == report.get("missing_blobs", 0)
    assert read.spaces == ({"local": StoreSpace(1000, 500, 10)} if report else {})
