"""The order of the tests, and what each leaves for the next."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support.command import Workspace
from support.keystone import Keystone, running_keystone
from support.seaweedfs import SeaweedFS, seaweedfs

#: How long an example takes is no property of the code: machines are busy.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


#: What `make test` leaves to `make test-all`: real databases, S3 servers and clients, daemons that
#: are killed, and commands that each start a process.
SLOW = (
    "catalogs/test_postgresql*.py",
    "catalogs/test_sqlite_file.py",
    "cli/*.py",
    "conversion/test_sandbox.py",
    "daemon/test_metrics_endpoint.py",
    "daemon/test_plugins.py",
    "daemon/test_secret_canaries.py",
    "daemon/test_worker*.py",
    "docs/test_examples.py",
    "docs/test_html.py",
    "e2e/*.py",
    "exports/test_killed_exports.py",
    "exports/test_s3.py",
    "interop/*.py",
    "interop/*/*.py",
    "stores/test_markers.py",
    "stores/test_metered.py",
    "stores/test_s3*.py",
)
#: What `make test` has of these all the same: one of each kind, and what is quick.
QUICK = (
    "catalogs/test_postgresql_programs.py",
    "catalogs/test_postgresql_url.py",
    "cli/test_all_commands.py",
    "cli/test_serve.py",
    "e2e/test_two_daemons.py",
    "stores/test_s3_parts.py",
    "stores/test_s3_settings.py",
)

#: The first test that needs a server with an environment of its own fills it by pip.
FIRST_INSTALLATION_SECONDS = 300


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow. Begin with the tests of whole daemons, which take longest: short ones then
    fill the time of the other workers.
    """
    for item in items:
        if _is_any(item.path, SLOW) and not _is_any(item.path, QUICK):
            item.add_marker(pytest.mark.slow)
        if "keystone" in getattr(item, "fixturenames", ()) and not item.get_closest_marker(
            "timeout"
        ):
            item.add_marker(pytest.mark.timeout(FIRST_INSTALLATION_SECONDS))
    items.sort(key=lambda item: "e2e" not in item.path.parts)


def _is_any(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.match(f"tests/{pattern}") for pattern in patterns)


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


@pytest.fixture
def service() -> object:
    """The API on a catalog and stores in memory."""
    from support.service import Service  # takes a while, which most tests need not wait

    return Service()


@pytest.fixture(scope="session")
def s3() -> Iterator[SeaweedFS]:
    """A real S3 server with one bucket, shared by all tests of this process that need one."""
    with seaweedfs() as server:
        yield server


@pytest.fixture(scope="session")
def keystone() -> Iterator[Keystone]:
    """A real Keystone, shared by all tests of this process that need one."""
    with running_keystone() as server:
        yield server
