"""Prepares the processes that answer, before the daemon's event loop and threads exist."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from imaged.config import Config
from imaged.daemon.processes import answering_process
from imaged.daemon.processes.fork_server import ForkServer
from imaged.daemon.processes.shared_modules import load, modules_of_all, modules_of_answers
from imaged.server.connection_counts import SharedCounts


@dataclass(frozen=True, slots=True)
class Forks:
    """The process that forks them, and their shared memory."""

    server: ForkServer
    counts: SharedCounts


def prepare_forks(config: Config) -> Forks | None:
    """Start the fork server; None if this process answers by itself, or nothing is answered."""
    processes = config.answering_processes
    if processes < 2:  # noqa: PLR2004 - several
        return None
    load(modules_of_all(config))
    counts = SharedCounts(processes)
    server = ForkServer.start(
        partial(answering_process.main, counts), partial(load, modules_of_answers(config))
    )
    return Forks(server, counts)
