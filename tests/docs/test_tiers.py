"""The table of slow tests names files that are there."""

from __future__ import annotations

from pathlib import Path
from runpy import run_path

import pytest

TESTS = Path(__file__).parents[1]
TABLES = run_path(str(TESTS / "conftest.py"))


@pytest.mark.parametrize("pattern", TABLES["SLOW"] + TABLES["QUICK"])
def test_each_pattern_finds_tests(pattern: str) -> None:
    """A file that was renamed would change its tier without a word."""
    assert list(TESTS.glob(pattern))
