"""What the tests of connections stand on."""

from __future__ import annotations

import pytest

from support.service import Service


@pytest.fixture
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at connections as often as the server can, so that short limits are kept."""
    monkeypatch.setattr("imaged.server.connections.CHECK_INTERVAL_SECONDS", 0.1)


@pytest.fixture
def service() -> Service:
    """The API, on a catalog and stores in memory."""
    return Service()
