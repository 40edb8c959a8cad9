"""What commands show in a terminal: no line break is within an id, and no line is too long."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.cells import cell_len

import capture
from imaged.cli import COMMANDS

ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
#: The beginning of an id at the end of a line, or its rest at the beginning of one.
PART = re.compile(r"\b[0-9a-f]{8}-[0-9a-f-]*$|^\s*[0-9a-f]*(?:-[0-9a-f]{1,4})*-[0-9a-f]{12}\b")


def screens(page: str) -> Iterator[tuple[int, str, list[str]]]:
    """The width, the command, and the lines that it shows."""
    for part in page.split("\n## ")[1:]:
        columns = int(part.split()[0])
        for block in re.findall(r"^```text\n(.*?)^```$", part, re.DOTALL | re.MULTILINE):
            command, *lines = block.splitlines()
            yield columns, command, lines


def broken_ids(lines: list[str]) -> list[str]:
    """Lines with a part of an id."""
    return [line for line in lines if PART.search(ID.sub("", line))]


def check(page: str) -> None:
    """Every command is there in every width, and shows whole ids. Raises AssertionError."""
    found = list(screens(page))
    for columns in capture.WIDTHS:
        typed = " ".join(command for width, command, _ in found if width == columns)
        assert {name for name in COMMANDS if f"imaged {name} " not in f"{typed} "} == set()
    assert sum(len(ID.findall("\n".join(lines))) for _, _, lines in found) > 50
    for columns, command, lines in found:
        assert broken_ids(lines) == [], command
        assert max(map(cell_len, lines), default=0) <= columns, command


def test_no_id_is_broken() -> None:
    """On the page. If this fails for a new command, type it in docs/capture.py, and run that."""
    check(capture.PAGE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "lines",
    [
        ["the image 1064a2d0-b4d3", "-4ce3-92ab-7e5d8befd90d is gone"],
        ["the image 1064a2d0-b4d3-4ce3-92ab-7e5d8b", "efd90d"],
        ["1064a2d0-", "b4d3-4ce3-92ab-7e5d8befd90d"],
        ["1064a2d0-b4d3-4ce3-92ab-", "7e5d8befd90d"],
    ],
)
def test_a_broken_id_is_found(lines: list[str]) -> None:
    """Wherever it breaks behind its first part."""
    assert broken_ids(lines)


@pytest.mark.system
@pytest.mark.timeout(600)
def test_commands_are_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real terminal, now (apt-get install tmux)."""
    assert shutil.which("tmux")
    monkeypatch.setattr(capture, "PAGE", tmp_path / "terminal.md")
    capture.main()

    check(capture.PAGE.read_text(encoding="utf-8"))
