"""The table of rules and tests tells of tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs/decisions/0004-rules-and-the-tests-that-hold-them.md"
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
ROWS = [
    line.strip("| ").split(" | ") for line in TABLE.read_text().splitlines() if "`test_" in line
]


def test_there_are_many_rules() -> None:
    """The table was read, and it is the whole one."""
    assert len(ROWS) > 80


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_a_rule_has_its_tests(row: list[str]) -> None:
    """Renaming or removing a test that holds a rule fails here."""
    names = re.findall(r"`(test_\w+)`", row[1])

    assert names
    assert [name for name in names if f"def {name}(" not in TESTS] == []
