"""The watchdog is fed while the event loop runs and every driver responds."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from contracts.store_faulty_disks import HangingDisk
from contracts.store_folder import store_on
from imaged.core.errors import CatalogError, StoreError
from imaged.daemon.systemd import SystemdNotifier, all_respond
from support.command import Workspace, serving
from support.service_manager import listening_service_manager

Check = Callable[[], Awaitable[None]]

SOON = timedelta(milliseconds=50)
LATE = timedelta(days=1)


async def works() -> None:
    """Succeed."""


async def refuses() -> None:
    """Fail with a store error."""
    raise StoreError("cloud", "answers 503")


async def is_away() -> None:
    """Fail with a catalog error."""
    raise CatalogError("cannot be reached")


async def hangs() -> None:
    """Never return."""
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("checks", "within", "answer"),
    [
        ([works, works], LATE, True),
        ([works, refuses], LATE, True),
        ([is_away, refuses], LATE, True),
        ([works, hangs], SOON, False),
        ([refuses, hangs], SOON, False),
    ],
    ids=["both work", "a store refuses", "nothing works", "one hangs", "one hangs, one refuses"],
)
def test_an_error_is_an_answer_and_silence_is_none(
    checks: list[Check], within: timedelta, *, answer: bool
) -> None:
    """An error counts as a response; a call that never returns does not."""
    assert anyio.run(all_respond, checks, within) is answer


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({"WATCHDOG_USEC": "120000000"}, timedelta(minutes=2)),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}, timedelta(minutes=2)),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_systemd_says_how_long_it_waits(
    environment: dict[str, str], watchdog: timedelta | None
) -> None:
    """The watchdog applies only to the process that systemd named."""
    assert SystemdNotifier(environment).watchdog == watchdog
    assert not environment


def test_a_daemon_feeds_its_watchdog(workspace: Workspace, tmp_path: Path) -> None:
    """The watchdog is fed repeatedly, even while the store is unavailable."""
    with (
        listening_service_manager(tmp_path) as manager,
        serving(workspace.file, NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="200000") as daemon,
    ):
        manager.wait_for_key("WATCHDOG")
        workspace.images.rename(tmp_path / "away")
        while daemon.ask("/readyz")[0] == 200:
            assert daemon.process.poll() is None
        for _ in range(3):
            assert manager.wait_for_key("WATCHDOG") == {"WATCHDOG": "1"}
        (tmp_path / "away").rename(workspace.images)


def test_a_disk_that_hangs_is_silent(tmp_path: Path) -> None:
    """A hanging thread blocks only the store's check."""
    root = tmp_path / "store"
    root.mkdir()
    with HangingDisk("fsync") as disk:
        assert not anyio.run(all_respond, [store_on(root, disk).check, works], SOON)
    assert anyio.run(all_respond, [store_on(root).check, works], LATE)
