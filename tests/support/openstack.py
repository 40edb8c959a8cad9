"""The ``openstack`` command line, unmodified, without authentication."""

from __future__ import annotations

import asyncio
import os
import shlex
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from support.daemon import Daemon, clean_environment

OPENSTACK = str(Path(sys.executable).with_name("openstack"))


async def openstack(daemon: Daemon, *arguments: str) -> str:
    """Run one command of the client; its output. It must succeed."""
    return await typed(daemon, shlex.join(arguments))


async def typed(daemon: Daemon, arguments: str) -> str:
    """The same, as it is typed on a terminal: another standard input may be taken for data."""
    signed_in = f"{OPENSTACK} --os-auth-type none --os-endpoint {daemon.url}"
    keyboard, terminal = os.openpty()
    try:
        process = await asyncio.create_subprocess_shell(
            f"exec {signed_in} {arguments}",
            env=clean_environment() | {"HOME": str(daemon.folder)},
            stdin=terminal,
            stdout=PIPE,
            stderr=PIPE,
        )
        output, errors = await process.communicate()
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert process.returncode == 0, errors.decode() + daemon.log_text()
    return output.decode()
