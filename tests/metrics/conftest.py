"""Fixtures of the tests of metrics."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from support.service import Service


@pytest.fixture
def service() -> Service:
    """The API on an in-memory catalog and stores."""
    return Service()


@pytest.fixture
def registry() -> CollectorRegistry:
    """An empty registry."""
    return CollectorRegistry()
