"""Time that jumps when all tasks wait, and chance that is the same for the same seed."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from uuid import UUID

import anyio
import pytest
import trio._core._run as trio_run
from trio.testing import MockClock

from imaged.services import claims, ingest
from imaged.services.tasks import task_service
from imaged.services.tasks.types import clone

VIRTUAL_START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
UUID_USERS = (claims, ingest, clone, task_service)  # the modules that draw names by lot


def virtual_trio() -> tuple[str, dict[str, object]]:
    """The backend, for anyio's plugin: trio with a virtual clock."""
    return "trio", {"clock": MockClock(autojump_threshold=0)}


class VirtualClock:
    """Tells the wall time of a catalog whose seconds are virtual."""

    def now(self) -> datetime:
        """Return this moment."""
        return VIRTUAL_START + timedelta(seconds=anyio.current_time())


def elapsed() -> float:
    """Virtual seconds since the test began."""
    return anyio.current_time()


def seed_randomness(seed: int, monkeypatch: pytest.MonkeyPatch) -> random.Random:
    """Make all that is drawn by lot a function of the seed: trio's schedule, names, jitter.

    What is left is the order of sets of strings; ``PYTHONHASHSEED=0`` fixes that too.
    """
    chance = random.Random(seed)
    random.seed(seed)
    monkeypatch.setattr(trio_run, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
    trio_run._r.seed(seed)
    for module in UUID_USERS:
        monkeypatch.setattr(module, "uuid4", lambda: UUID(int=chance.getrandbits(128)))
    return chance
