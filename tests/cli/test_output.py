"""Tables of commands in narrow terminals."""

from __future__ import annotations

import io
import time
from datetime import UTC, datetime
from uuid import UUID

import pytest
from rich.console import Console

from imaged.cli.output import TextTable, local_time

IDS = [str(UUID(int=number)) for number in (1, 2)]
COLUMNS = ("image", "name", "size", "owner", "deleted at", "time left")


def drawn(table: TextTable, width: int) -> str:
    """The table as a terminal of this width shows it."""
    output = io.StringIO()
    Console(file=output, width=width, force_terminal=True, color_system=None).print(
        table.draw(width)
    )
    return output.getvalue()


@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("name", ["short", "a name of an image that has no end" * 4])
def test_no_table_breaks_an_id(width: int, name: str) -> None:
    """Other columns are folded, and lose no letter."""
    owner = "0123456789abcdef0123456789abcdef"
    rows = [(one, name, "1.2 GiB", owner, "2026-11-30T07:00:00.000+00:00", "2 h") for one in IDS]
    shown = drawn(TextTable("2 images", COLUMNS, rows), width)

    assert all(one in shown for one in IDS)
    assert max(map(len, shown.splitlines())) <= width
    letters = "".join(shown.split())
    assert all(letters.count(letter) >= 2 * name.count(letter) for letter in set(name) - {" "})


@pytest.mark.parametrize(("width", "whole"), [(80, 1), (100, 2)])
def test_of_several_ids_those_are_whole_that_fit(width: int, whole: int) -> None:
    """The first ones; the others are folded."""
    shown = drawn(
        TextTable("1 task", ("task", "type", "image", "for"), [(IDS[0], "import", IDS[1], "2 h")]),
        width,
    )

    assert [one in shown for one in IDS] == [True] + [True] * (whole - 1) + [False] * (2 - whole)


def test_times_are_local_with_their_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has UTC; a terminal is read by people."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XST-05:30")
        time.tzset()
        shown = local_time(datetime(2026, 11, 30, 20, 15, 59, tzinfo=UTC))
    time.tzset()

    assert shown == "2026-12-01 01:45 XST"


def test_a_table_without_rows_has_its_columns() -> None:
    """Nothing else."""
    assert "deleted at" in drawn(TextTable("no image", COLUMNS, []), 80)
