"""What the tests of metrics share."""

from __future__ import annotations

import pytest

from support.service import Service


@pytest.fixture
def service() -> Service:
    """The API on a catalog and stores in memory."""
    return Service()
