"""Processes of tests do not outlive them, also where a test run is interrupted or killed."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

#: Put before a command: the kernel kills it when the thread that started it ends (prctl(2)).
END_WITH_PARENT = ("setpriv", "--pdeathsig=KILL")


def start(
    running: ExitStack, log: Path, command: Sequence[str], env: Mapping[str, str] | None = None
) -> None:
    """Start a server; killed at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=env, stdout=output, stderr=output)
    running.callback(process.wait)
    running.callback(process.kill)


def unprivileged() -> list[str]:
    """Put before a program that refuses to run as root; interrupted when its parent ends."""
    command = ["setpriv", "--pdeathsig=INT"]
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        command += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return command


def give_to_unprivileged(folder: Path) -> None:
    """Let such a program write there."""
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
