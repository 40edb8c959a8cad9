"""The order of the tests, and what each leaves for the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.command import Workspace

#: How long an example takes is no property of the code: machines are busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with whole daemons that are killed again and again: they take minutes, and what is
    short then fills the time of the other workers.
    """
    items.sort(key=lambda item: "e2e" not in item.path.parts)


@pytest.fixture(autouse=True)
def _process_left_as_it_was() -> Iterator[None]:
    """A test that changes what a process has once is told so itself: otherwise another one fails,
    much later, and only in some orders.
    """
    before = _of_this_process()
    yield
    assert _of_this_process() == before


def _of_this_process() -> dict[str, object]:
    return {
        "processors": os.sched_getaffinity(0),
        "niceness": os.getpriority(os.PRIO_PROCESS, 0),
        "log level": logging.getLogger().level,
        "folder": Path.cwd(),
    }


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """A folder with a configuration that works."""
    workspace = Workspace(tmp_path)
    workspace.write()
    return workspace
