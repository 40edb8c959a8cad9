"""A place to run commands in."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Place


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A configuration that works."""
    place = Place(tmp_path)
    place.write()
    return place
