"""Names of backups, which of them go, and which files are refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from imaged.core.backup import (
    BackupFile,
    backup_name,
    backups_in,
    is_backup_name,
    is_recent,
    superfluous,
    why_file_refused,
)

AT = datetime(2026, 11, 30, 9, 15, 0, 123456, tzinfo=UTC)
NAMES = ["2026-11-28T02-00-00Z", "2026-11-29T02-00-00Z", "2026-11-30T02-00-00Z"]


def test_a_backup_is_named_by_the_time_in_utc() -> None:
    """Names sort by time, whatever the zone of the machine."""
    assert backup_name(AT, ()) == "2026-11-30T09-15-00Z"
    assert backup_name(AT.astimezone(timezone(timedelta(hours=5))), ()) == "2026-11-30T09-15-00Z"


def test_a_name_is_never_given_twice() -> None:
    """Two backups of one second get the next free names."""
    taken = ["2026-11-30T09-15-00Z", "2026-11-30T09-15-01Z"]

    assert backup_name(AT, taken) == "2026-11-30T09-15-02Z"


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        ("2026-11-30T09-15-00Z", True),
        (".unfinished-2026-11-30T09-15-00Z", False),
        ("2026-11-30T09-15-00Z.old", False),
        ("2026-11-31T09-15-00Z", False),
        ("2026-1-3T9-15-0Z", False),
        ("lost+found", False),
    ],
)
def test_what_has_another_name_is_no_backup(name: str, is_one: bool) -> None:
    """Above all what is unfinished."""
    assert is_backup_name(name) is is_one
    assert list(backups_in([name])) == [name] * is_one


@pytest.mark.parametrize(
    ("keep", "gone"),
    [(1, NAMES[:2]), (2, NAMES[:1]), (3, []), (14, [])],
)
def test_the_oldest_go(keep: int, gone: list[str]) -> None:
    """Whatever the order of the names; nothing else in the folder is touched."""
    assert superfluous([NAMES[2], "notes", *NAMES[:2], ".unfinished-x"], keep) == gone


@pytest.mark.parametrize(
    ("size_bytes", "sha256", "why"),
    [
        (3, "abc", None),
        (None, "", "catalog.db is missing."),
        (2, "abc", "catalog.db has 2 bytes, and 3 were written."),
        (3, "abd", "catalog.db has other bytes than those that were written (SHA-256)."),
    ],
)
def test_a_file_is_what_was_written(size_bytes: int | None, sha256: str, why: str | None) -> None:
    """Or the reason says which file, and what is wrong."""
    assert why_file_refused(BackupFile("catalog.db", 3, "abc"), size_bytes, sha256) == why


def test_the_newest_backup_is_recent_for_two_days() -> None:
    """One night may be missed."""
    assert is_recent(AT, AT + timedelta(days=2))
    assert not is_recent(AT, AT + timedelta(days=2, seconds=1))
