"""What a daemon loads at its start, in one process, with a folder and SQLite."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from support.command import Workspace
from support.daemon import clean_environment
from support.ports import reserve_port

#: Large libraries that a service loads when it needs them, and not before.
LOADED_LATER = {
    "aiobotocore",  # a store in a bucket
    "aiohttp",  # Keystone, events, fetches
    "alembic",  # a migration
    "asyncpg",  # PostgreSQL
    "cryptography",  # secrets of tasks; by oslo_utils too
    "oslo_utils",  # the first byte of an upload
    "psycopg",
    "rich",  # tables of commands
    "sqlalchemy.dialects.postgresql",
    "yaml",  # a policy file
    "yarl",
}
PROGRAM = """
import gc, importlib.metadata, os, signal, sys, threading, time, urllib.request
from imaged.cli import main

found, searches = importlib.metadata.distributions, []

def distributions(**options):
    searches.append(options)
    return found(**options)

importlib.metadata.distributions = distributions

port = sys.argv.pop()

def look():
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/images").read()
            break
        except OSError:
            time.sleep(0.01)  # in a process of its own, which is not told when it listens
    print(len(searches), gc.isenabled(), gc.get_freeze_count())
    print(*sys.modules, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=look, daemon=True).start()
sys.argv[0] = "imaged"
main()
"""


@pytest.fixture(scope="module")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Sequence[str]:
    """What a daemon says of itself when the first list is answered."""
    workspace = Workspace(tmp_path_factory.mktemp("lean"))
    workspace.write()
    migrated = workspace.imaged("migrate")
    assert migrated.returncode == 0, migrated.stderr
    port = str(reserve_port())

    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "serve", "--config", str(workspace.file), port],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**clean_environment(), "IMAGED_API__BIND": f'["127.0.0.1:{port}"]'},
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_large_libraries_are_loaded_when_they_are_needed(answer: Sequence[str]) -> None:
    """Until the first list is answered, none of them is."""
    loaded = set(answer[1].split())
    assert "imaged.daemon.daemon" in loaded
    assert not loaded & LOADED_LATER


def test_installed_packages_are_searched_for_plugins_once(answer: Sequence[str]) -> None:
    """Each search opens a file of each package; pydantic would search too."""
    searches, _, _ = answer[0].split()
    assert searches == "1"


def test_the_collector_leaves_imported_objects_alone(answer: Sequence[str]) -> None:
    """It works, and a full collection does not look at the hundreds of thousands of them."""
    _, is_enabled, frozen = answer[0].split()
    assert is_enabled == "True"
    assert int(frozen) > 100_000
