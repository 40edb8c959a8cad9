"""A real daemon whose clock is a day ahead for a while: nothing is lost, nothing is stuck."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from support.client import Client
from support.daemon import Daemon
from support.waiting import until

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(180)]

TESTS = Path(__file__).parents[1]
A_DAY_AND_AN_HOUR = 25 * 3600
DATA = os.urandom(100_000)


@dataclass
class Site:
    """A daemon, and what its catalog's clock is ahead by."""

    daemon: Daemon
    ahead: Path

    def set_clock(self, seconds: float) -> None:
        """In one go: a process may be reading it."""
        new = self.ahead.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self.ahead)


@pytest_asyncio.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """Started, with a delay of a day."""
    ahead = tmp_path / "ahead"
    ahead.write_text("0")
    path = f"PYTHONPATH={TESTS}"  # of the daemon alone: commands are forked
    program = ("env", path, sys.executable, "-m", "support.shifted_clock", str(ahead))
    daemon = Daemon(tmp_path, {"scrubber": {"delay": "24h"}}, program=program)
    await daemon.start()
    yield Site(daemon, ahead)
    await daemon.end(signal.SIGKILL)


async def test_a_day_ahead_and_back(site: Site) -> None:
    """Over a kill and a start in between; then the image is restored, with every byte."""
    async with Client(site.daemon.url) as client:
        image_id = await client.create()
        assert await client.put(image_id, DATA) == 204
        digest = await client.digest(image_id)
        assert await client.delete(image_id) == 204

        site.set_clock(A_DAY_AND_AN_HOUR)
        await site.daemon.until_told("clock.stepped")
        await site.daemon.end(signal.SIGKILL)
        await site.daemon.start()
        await site.daemon.until_told("clock.stepped", 2)
        code, _, errors = await site.daemon.command("scrub", "--dry-run")
        assert code == 0, errors
        site.set_clock(0)
        await site.daemon.until_told("clock.believed")

        assert (await site.daemon.command("restore", image_id))[0] == 0
        assert await client.digest(image_id) == digest
    assert not site.daemon.told("scrub.finished")


async def test_an_operator_says_that_the_clock_is_right(site: Site) -> None:
    """What is due by it goes then, and not before; `imaged status` says what to do."""
    async with Client(site.daemon.url) as client:
        image_id = await client.create()
        assert await client.put(image_id, DATA) == 204
        assert await client.delete(image_id) == 204
    site.set_clock(A_DAY_AND_AN_HOUR)
    await site.daemon.until_told("clock.stepped")

    async def status_tells() -> bool:
        return "imaged scrub --confirm-clock" in (await site.daemon.command("status"))[1]

    await until(status_tells, "status does not say what to do")
    assert not site.daemon.told("scrub.finished")
    code, output, errors = await site.daemon.command("scrub", "--confirm-clock")

    assert (code, errors) == (0, "")
    assert "is trusted again" in output
    await site.daemon.until_told("scrub.finished")
