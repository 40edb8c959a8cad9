"""The ``openstack`` command line, unmodified, without authentication."""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

from support.daemon import Daemon, clean_environment

OPENSTACK = str(Path(sys.executable).with_name("openstack"))


async def openstack(daemon: Daemon, *arguments: str) -> str:
    """Run one command of the client; its output. It must succeed."""
    process = await asyncio.create_subprocess_exec(
        *(OPENSTACK, "--os-auth-type", "none", "--os-endpoint", daemon.url, *arguments),
        env=clean_environment() | {"HOME": str(daemon.folder)},
        stdout=PIPE,
        stderr=PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() + daemon.log_text()
    return output.decode()
