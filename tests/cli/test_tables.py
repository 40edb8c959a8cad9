"""Tables of commands in narrow terminals."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from rich.cells import cell_len

from imaged.cli.output import local_time
from imaged.cli.tables import TextTable
from imaged.units import age_in_words

IDS = [f"abcdef12-{UUID(int=number)}"[9:] for number in (1, 2)]
KEY = f"ab/{IDS[0]}.{'0123456789abcdef' * 2}"
COLUMNS = ("image", "name", "size", "owner", "deleted at", "time left")
OWNER = "0123456789abcdef0123456789abcdef"
LONG_NAMES = ("a name of an image that has no end" * 4, "n" * 90, "画像" * 40)


@pytest.mark.parametrize("width", [40, 80, 100, 200])
@pytest.mark.parametrize("name", ["short", *LONG_NAMES])
def test_no_table_breaks_an_id(width: int, name: str) -> None:
    """Other texts are folded, or below their row, and lose no letter; no line is too long."""
    rows = [
        (one, name, "1.2 GiB", OWNER, f"2026-11-30 07:00 {zone}", "2h1m")
        for one, zone in zip(IDS, ("UTC", "CET"), strict=True)
    ]
    lines = TextTable("2 images", COLUMNS, rows).lines(width)

    assert all(any(one in line for line in lines) for one in IDS)
    assert max(map(cell_len, lines)) <= width
    letters = "".join("".join(lines).split())
    for letter in set("".join(map(str, rows[0]))) - {" "}:
        assert letters.count(letter) >= sum("".join(row).count(letter) for row in rows)


def test_short_columns_are_not_folded() -> None:
    """A status or a size is on one line, and what has no room is below."""
    row = (IDS[0], "golden image for developers", "pending_delete", "192.0 KiB", OWNER)
    lines = TextTable("1 image", ("image", "name", "status", "size", "owner"), [row]).lines(80)

    assert re.split(r" {2,}", lines[1]) == [IDS[0], "golden image", "pending_delete", "192.0 KiB"]
    assert lines[2].strip() == "for developers"
    assert lines[-1] == f"    owner: {OWNER}"


@pytest.mark.parametrize("width", [60, 80])
def test_ids_in_sentences_and_keys_are_whole(width: int) -> None:
    """As people copy them from there, too."""
    why = f"It is still in use: https://images.example.net:9292/v2/images/{IDS[1]}/file"
    row = (KEY, "local", "192.0 KiB", "3", why)
    lines = TextTable("1 blob", ("key", "store", "size", "failures", "last error"), [row]).lines(
        width
    )

    assert any(IDS[0] in line for line in lines)
    assert any(IDS[1] in line for line in lines)
    assert max(map(len, lines)) <= width


def test_a_wide_terminal_needs_no_fold() -> None:
    """Nor does a table without a limit."""
    rows = [(IDS[0], "two  words"), (IDS[1], LONG_NAMES[0])]
    table = TextTable("2 images", ("image", "name"), rows)

    assert table.lines(None) == table.lines(300)
    assert table.lines(None)[1:] == [f"{one}  {name}" for one, name in rows]


def test_without_a_terminal_cells_have_tabs_between_them(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """For cut and awk: a name may have spaces, but neither tabs nor other control characters."""
    TextTable("1 image", ("image", "name"), [(IDS[0], "two words\t\x1b[31m")]).print()

    assert capsys.readouterr().out == f"1 image\nimage\tname\n{IDS[0]}\ttwo words��[31m\n"


def test_times_of_one_zone_are_not_folded() -> None:
    """The header has the zone; times of several zones keep theirs, and piped ones too."""
    details = "size 20.0 MiB, 0.414 s, 48.4 MiB/s"
    rows = [
        (f"2026-11-30 10:4{number} UTC", "upload_started", "admin", "admin", "127.0.0.1", details)
        for number in range(2)
    ]
    columns = ("at", "action", "user", "project", "address", "details")
    header, *lines = TextTable("2 changes", columns, rows).lines(80)
    other = [*rows, ("2026-10-01 10:40 CEST", *rows[0][1:]), ("", *rows[0][1:])]

    assert header.startswith("at (UTC)          action")
    assert [line[:18] for line in lines] == [
        "2026-11-30 10:40  ",
        " " * 18,
        "2026-11-30 10:41  ",
        " " * 18,
    ]
    assert (
        TextTable("4 changes", columns, other).lines(None)[1].startswith("2026-11-30 10:40 UTC  ")
    )
    assert TextTable("1 change", columns, [*rows, other[-1]]).lines(None)[0].startswith("at (UTC)")


def test_a_table_without_rows_is_its_title(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing else."""
    TextTable("0 images", COLUMNS, []).print()

    assert capsys.readouterr().out == "0 images\n"


def test_times_are_local_with_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has UTC; a terminal is read by people."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XST-05:30")
        time.tzset()
        shown = local_time(datetime(2026, 11, 30, 20, 15, 59, tzinfo=UTC))
    time.tzset()

    assert shown == "2026-12-01 01:45 XST"


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(seconds=-5), "0 s"),
        (timedelta(seconds=119.9), "119 s"),
        (timedelta(minutes=2), "2 min"),
        (timedelta(minutes=119), "119 min"),
        (timedelta(hours=2), "2 h"),
        (timedelta(hours=47), "47 h"),
        (timedelta(days=2), "2 days"),
        (timedelta(days=729), "729 days"),
        (timedelta(days=731), "2 years"),
    ],
)
def test_ages_are_in_words(age: timedelta, words: str) -> None:
    """One unit, rounded down."""
    assert age_in_words(age) == words
