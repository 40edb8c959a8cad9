"""The progress bar of transfers, and the line at their end."""

from __future__ import annotations

import io
import re
from datetime import timedelta

import pytest
from rich.console import Console

from imaged.cli.progress import progress_bar
from imaged.cli.transfers import transfer_summary
from imaged.core.limits import GIB, KIB, MIB

NAME = "a-name-of-an-image-that-has-no-end.qcow2"


def drawn(total_bytes: int | None, done_bytes: int, width: int) -> str:
    """The last state of the bar on a terminal of this width."""
    output = io.StringIO()
    console = Console(file=output, width=width, force_terminal=True, color_system=None)
    with progress_bar(NAME, console) as bar:
        bar.begin(total_bytes)
        bar.advance(done_bytes)
        bar.note("The image is an-id.")
    lines = re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "\n", output.getvalue()).replace("\r", "\n")
    return [line for line in lines.splitlines() if line.strip()][-1]


@pytest.mark.parametrize("width", [80, 100])
def test_a_bar_has_share_and_sizes(width: int) -> None:
    """On one line, with both sizes in one unit; a long name is cut."""
    half = drawn(3 * GIB, 3 * GIB // 2, width)

    assert len(half) <= width
    assert " 50 %" in half
    assert " 1.5 of 3.0 GiB" in half
    assert half.startswith("a-name")
    assert "…" in half
    assert "finishing" in drawn(GIB, GIB, width)


def test_a_bar_without_a_total_has_a_size() -> None:
    """The length of a pipe is unknown, so neither a share nor the time left is shown."""
    line = drawn(None, 5 * MIB, 80)

    assert " 5.0 MiB" in line
    assert "%" not in line
    assert "left" not in line


@pytest.mark.parametrize(
    ("size_bytes", "took", "verified_by", "tries", "line"),
    [
        (
            3 * GIB,
            timedelta(seconds=30),
            "sha512",
            1,
            "3.0 GiB in 30s, 102.4 MiB/s; sha512 verified.",
        ),
        (4 * KIB, timedelta(0), "md5", 1, "4.0 KiB in 0.1s, 40.0 KiB/s; md5 verified."),
        (
            GIB,
            timedelta(seconds=64),
            None,
            3,
            "1.0 GiB in 1m4s, in 3 tries, 16.0 MiB/s; not verified: there is no digest.",
        ),
        (GIB, timedelta(seconds=1), "sha512", 0, "Nothing was left to transfer; sha512 verified."),
    ],
)
def test_the_last_line(
    size_bytes: int, took: timedelta, verified_by: str | None, tries: int, line: str
) -> None:
    """Size, time, mean rate, and which digest was compared."""
    assert transfer_summary(size_bytes, took, verified_by, tries) == line
