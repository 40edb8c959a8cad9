"""A daemon on a machine whose clock is set: its own time, for every call of it (libfaketime)."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon
from support.waiting import until

pytestmark = [pytest.mark.system, pytest.mark.asyncio, pytest.mark.timeout(180)]

LIBRARY = "faketime/libfaketimeMT.so.1"
DATA = os.urandom(100_000)


def library() -> Path:
    """Where the package has put it."""
    found = [*Path("/usr/lib").glob(f"*/{LIBRARY}")]
    assert found, "libfaketime is missing: apt-get install libfaketime"
    return found[0]


@pytest_asyncio.fixture
async def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Daemon]:
    """With a delay of a day; the file ``clock`` says what time it is, uptimes are real."""
    (tmp_path / "clock").write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(library()))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(tmp_path / "clock"))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    settings: dict[str, dict[str, object]] = {
        "scrubber": {"delay": "24h"},
        "claims": {"lease": "60s", "renew_every": "5s"},  # every look at the clock reads a file
    }
    daemon = Daemon(tmp_path, settings)
    await daemon.start()
    yield daemon
    await daemon.end(signal.SIGKILL)


@pytest.mark.parametrize("step", ["+25h", "+365d", "-365d"])
async def test_a_clock_that_is_set_and_set_back(daemon: Daemon, tmp_path: Path, step: str) -> None:
    """Nothing goes meanwhile, an upload works, and the deleted image comes back whole."""

    async def is_told(event: str, times: int = 1) -> bool:
        return len([line for line in daemon.events() if line["event"] == event]) >= times

    async with Client(daemon.url) as client:
        deleted, other = await client.create(), await client.create()
        assert await client.put(deleted, DATA) == 204
        digest = await client.digest(deleted)
        assert await client.delete(deleted) == 204

        (tmp_path / "clock").write_text(step)
        await until(lambda: is_told("clock.stepped"), "the step is not told")
        assert await client.put(other, DATA) == 204
        (tmp_path / "clock").write_text("+0")
        if step.startswith("-"):  # what was dated meanwhile looks older than it is: a step ahead
            await until(lambda: is_told("clock.stepped", 2), "that it was behind is not told")
        else:
            await until(lambda: is_told("clock.believed"), "the clock is not believed again")

        assert (await daemon.command("restore", deleted))[0] == 0
        assert await client.digest(deleted) == digest
    assert not await is_told("scrub.finished")
