"""The table of slow tests names files that are there."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]


def patterns(name: str) -> tuple[str, ...]:
    """A table of ``tests/conftest.py``."""
    spec = spec_from_file_location("conftest_of_tests", TESTS / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    found: tuple[str, ...] = getattr(module, name)
    return found


@pytest.mark.parametrize("pattern", patterns("SLOW") + patterns("QUICK"))
def test_each_pattern_finds_tests(pattern: str) -> None:
    """A file that was renamed would change its tier without a word."""
    assert list(TESTS.glob(pattern))
