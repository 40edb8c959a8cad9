"""The process that forks the processes that answer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from imaged.daemon.processes.fork_server import ForkServer
from support import slot_program
from support.forking_program import EXIT_CODE
from support.waiting import wait_until

TESTS = Path(__file__).parents[1]
PROGRAM = [sys.executable, "-m", "support.forking_program"]
STANDARD_DESCRIPTORS = 3


def test_forked_processes_are_clean() -> None:
    """Each has random numbers of its own, no descriptors but those given, and the usual signals;
    its exit code is known, also if it was killed.
    """
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, check=True, timeout=60)
    found = json.loads(done.stdout)

    one, other = found["children"]
    assert one["random"] != other["random"]
    assert one["uuid"] != other["uuid"]
    assert one["given"] == 1
    assert one["descriptors"] == other["descriptors"] == STANDARD_DESCRIPTORS + 1
    assert one["waits for children"]
    assert found["exit_codes"] == [EXIT_CODE, -signal.SIGKILL]
    assert done.stderr == b""


def test_a_process_that_is_forked_during_a_drain_drains() -> None:
    """It was not there when the others were instructed; the daemon would wait for it forever."""
    program = [sys.executable, "-m", "support.slot_program"]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    done = subprocess.run(program, env=environment, capture_output=True, check=True, timeout=40)

    assert done.stdout.splitlines()[-1] == f"[{slot_program.EXIT_CODE}]".encode()


def test_it_is_not_forked_beside_threads() -> None:
    """A lock that another thread holds would be held forever in the child."""
    go_on = threading.Event()
    other = threading.Thread(target=go_on.wait)
    other.start()
    try:
        with pytest.raises(RuntimeError, match="threads"):
            ForkServer.start(lambda _: 0)
    finally:
        go_on.set()
        other.join()


def test_it_ends_with_its_daemon() -> None:
    """However that ended."""
    program = (
        "import os, sys\n"
        "from imaged.daemon.processes.fork_server import ForkServer\n"
        "server = ForkServer.start(lambda _: 0)\n"
        "children = open(f'/proc/{os.getpid()}/task/{os.getpid()}/children').read()\n"
        "print(children, flush=True)\n"
        "sys.stdin.read()\n"  # until it is killed
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as daemon:
        assert daemon.stdout is not None
        forker = int(daemon.stdout.readline())
        daemon.kill()
    wait_until(lambda: not Path(f"/proc/{forker}/exe").exists())
