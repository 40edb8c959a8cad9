"""The order of the tests."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole daemons that are killed again and again: they take minutes, and what is
    short then fills the time of the other workers.
    """
    items.sort(key=lambda item: "probe" not in item.path.parts)
