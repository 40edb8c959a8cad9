"""Fixtures of the server's tests."""

from __future__ import annotations

import pytest

from support.service import Service


@pytest.fixture
def service() -> Service:
    """The API on an in-memory catalog and stores."""
    return Service()
