"""The README shows the house as it is."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from imaged.core.lifecycle import IMAGE_TRANSITIONS, Event, Status
from references.lifecycle import README, drawing, redrawn

ROOT = README.parent
ROOMS = ROOT / "src" / "imaged"
DECISIONS = ROOT / "docs" / "decisions"
TEXT = README.read_text(encoding="utf-8")
MAP = re.findall(r"^  ([a-z_]+(?:/|\.py))  +\S", TEXT, flags=re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)\)")


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


def test_the_map_has_every_room() -> None:
    """No package is hidden, and what is on the map is there."""
    packages = {f"{path.parent.name}/" for path in ROOMS.glob("*/__init__.py")}

    assert packages <= {*MAP} <= packages | {path.name for path in ROOMS.glob("*.py")}


def test_every_decision_is_in_the_index() -> None:
    """By its number, in order, each number once."""
    index = LINK.findall((DECISIONS / "README.md").read_text(encoding="utf-8"))
    numbers = [int(name[:4]) for name in index]

    assert index == sorted(path.name for path in DECISIONS.glob("[0-9]*.md"))
    assert all(first < second for first, second in pairwise(numbers))
