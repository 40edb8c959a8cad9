"""The README shows the house as it is."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from imaged.core.lifecycle import IMAGE_TRANSITIONS, Event, Status
from support.lifecycle_diagram import README, drawing, redrawn

ROOT = README.parent
ROOMS = ROOT / "src" / "imaged"
DECISIONS = ROOT / "docs" / "decisions"
TEXT = README.read_text(encoding="utf-8")
MAP = re.findall(r"^  ([a-z_]+(?:/|\.py))  +\S", TEXT, flags=re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")
PAGES = [README, *sorted(DECISIONS.glob("*.md"))]


def test_the_diagram_is_fresh() -> None:
    """The table draws it today; `python tests/support/lifecycle_diagram.py` draws it anew."""
    assert redrawn(TEXT) == TEXT


def test_the_diagram_has_the_whole_table() -> None:
    """Each status, each event, and a line for each step."""
    picture = drawing()

    assert all(re.search(rf"\b{status}\b", picture) for status in Status)
    assert all(f": {event}\n" in picture for event in Event)
    assert picture.count("-->") == sum(map(len, IMAGE_TRANSITIONS.values())) + 2


def test_a_diagram_needs_its_place() -> None:
    """Without both markers nothing is overwritten."""
    with pytest.raises(ValueError, match="must both be there"):
        redrawn("<!-- lifecycle:begin -->\n")


@pytest.mark.parametrize("room", MAP)
def test_every_room_on_the_map_exists(room: str) -> None:
    """Every path on the map exists."""
    path = ROOMS / room

    assert path.is_file() if room.endswith(".py") else (path / "__init__.py").is_file()


def test_every_room_is_on_the_map() -> None:
    """No package is hidden."""
    packages = {f"{path.parent.name}/" for path in ROOMS.glob("*/__init__.py")}

    assert packages == {room for room in MAP if room.endswith("/")}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of ours finds it."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))

    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_decision_is_in_the_index() -> None:
    """By its number, in order, each number once."""
    index = LINK.findall((DECISIONS / "README.md").read_text(encoding="utf-8"))
    numbers = [int(name[:4]) for name in index]

    assert index == sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert all(first < second for first, second in pairwise(numbers))
