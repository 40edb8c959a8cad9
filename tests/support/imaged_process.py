"""``imaged`` as a process of its own, without the second that its imports take.

A fork server, one for the process of the tests, has imported what commands and daemons import, and
runs nothing. Each process is forked from it, gets the arguments, the environment and the files that
it is given, and does what the script ``imaged`` does. ``cli/test_all_commands.py`` starts the
script itself; so does everything with a variable that Python reads at its start (READ_AT_START).
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from subprocess import CompletedProcess, TimeoutExpired
from tempfile import TemporaryDirectory

from support.waiting import POLL_SECONDS

IMAGED = str(Path(sys.executable).with_name("imaged"))
COMMAND_TIMEOUT_SECONDS = 30
PRELOADED = ("imaged.cli.context", "imaged.daemon.daemon", "alembic.command", "uvloop")
READ_AT_START = {"COVERAGE_PROCESS_START", "LD_PRELOAD", "PYTHONPATH"}
PR_SET_PDEATHSIG = 1  # prctl(2)
MOST_DESCRIPTORS = 1 << 16

_server = get_context("forkserver")
_server.set_forkserver_preload([*PRELOADED])


@dataclass(frozen=True)
class Invocation:
    """What is started: ``imaged`` with these arguments, or a program of its own.

    ``output`` and ``errors`` are files, to which it appends.
    """

    arguments: Sequence[str]
    environment: Mapping[str, str]
    output: Path
    errors: Path
    folder: Path
    program: Sequence[str] = ()


class ImagedProcess:
    """A process that was started, and ends with the process of the tests at the latest."""

    def __init__(self, invocation: Invocation) -> None:
        _wait_for_imports()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._process = _server.Process(target=_run, args=(invocation, limits))
        self._process.start()

    @property
    def pid(self) -> int:
        """Its number."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """How it ended: an exit code, or a signal below zero; None as long as it runs."""
        return self._process.exitcode

    def send_signal(self, how: signal.Signals) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, how)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout_seconds: float | None = None) -> int:
        """Wait for its end; how it ended. Raises TimeoutExpired."""
        self._process.join(timeout_seconds)
        if (code := self.poll()) is None:
            raise TimeoutExpired("imaged", timeout_seconds or 0)
        return code

    async def end(self) -> int:
        """The same, while other tasks go on."""
        while (code := self.poll()) is None:  # noqa: ASYNC110 - it sets no event of ours
            await asyncio.sleep(POLL_SECONDS)
        return code


def run_imaged(
    *arguments: str, environment: Mapping[str, str], folder: Path | None = None
) -> CompletedProcess[bytes]:
    """Run ``imaged`` to its end. Raises TimeoutExpired."""
    with TemporaryDirectory() as files:
        output, errors = Path(files, "output"), Path(files, "errors")
        process = ImagedProcess(
            Invocation(arguments, environment, output, errors, folder or Path.cwd())
        )
        try:
            code = process.wait(COMMAND_TIMEOUT_SECONDS)
        finally:
            process.kill()
        return CompletedProcess(arguments, code, output.read_bytes(), errors.read_bytes())


@cache
def _wait_for_imports() -> None:
    """Start the fork server, and wait until it forks: on a busy machine its imports take longer
    than the tests wait for a daemon.
    """
    first = _server.Process(target=int)
    first.start()
    first.join()


def _run(invocation: Invocation, limits: tuple[int, int]) -> None:
    """The life of the process."""
    # The fork server ends when the last process closes its end of a pipe: that is to be the one of
    # the tests, however it ends; and so does this one then.
    os.closerange(3, MOST_DESCRIPTORS)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    os.chdir(invocation.folder)
    for descriptor, file in enumerate((Path(os.devnull), invocation.output, invocation.errors)):
        opened = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    program = invocation.program
    if not program and READ_AT_START & invocation.environment.keys():
        program = (IMAGED,)
    if program:
        command = [*program, *invocation.arguments]
        os.execvpe(command[0], command, invocation.environment)  # noqa: S606 - no shell is wanted
    os.environ.clear()
    os.environ.update(invocation.environment)
    sys.argv = [IMAGED, *invocation.arguments]
    from imaged.cli import main

    main()
