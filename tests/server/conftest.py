"""Fixtures of the server's tests."""

from __future__ import annotations

import pytest

from support.service import Service


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check connections at every tick, so that tests can use short limits."""
    monkeypatch.setattr("imaged.server.connections.CHECK_INTERVAL_SECONDS", 0.1)


@pytest.fixture
def service() -> Service:
    """The API on an in-memory catalog and stores."""
    return Service()
