"""Servers that the bench starts itself, and stops."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.client import ErrorResponse, connected
from bench.endpoint import Endpoint

START_TIMEOUT_SECONDS = 60
ASKED_EVERY_SECONDS = 0.005

_reserved: list[socket.socket] = []


@dataclass(slots=True)
class Program:
    """A command that serves an endpoint in the foreground, until SIGTERM."""

    command: Sequence[str]
    endpoint: Endpoint
    log: Path
    ready: str = "/v2/images?limit=1"  # what it answers when it is up
    process: Process | None = None

    @property
    def pid(self) -> int:
        """Its process, which must be running."""
        if self.process is None:
            raise ChildProcessError(f"{self.command[0]} is not running")
        return self.process.pid

    async def start(self) -> float:
        """Start it; seconds until its first answer. Raises ChildProcessError."""
        began = time.perf_counter()
        with self.log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                *self.command, stdin=DEVNULL, stdout=log, stderr=log, env=_environment()
            )
        while not await self._answers():
            if self.process.returncode is not None:
                raise ChildProcessError(f"{self.command[0]} ended:\n{self.log.read_text()}")
            if time.perf_counter() - began > START_TIMEOUT_SECONDS:
                raise ChildProcessError(f"{self.command[0]} does not answer")
            await asyncio.sleep(ASKED_EVERY_SECONDS)
        return time.perf_counter() - began

    async def stop(self) -> None:
        """End it, and wait for the end."""
        process, self.process = self.process, None
        if process is not None and process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.wait()

    async def _answers(self) -> bool:
        try:
            async with connected(self.endpoint) as client:
                await client.get(self.ready)
        except (OSError, ErrorResponse):
            return False
        return True


async def run(command: Sequence[str]) -> None:
    """Run a command to its end. Raises ChildProcessError."""
    process = await asyncio.create_subprocess_exec(
        *command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, env=_environment()
    )
    if code := await process.wait():
        raise ChildProcessError(f"{' '.join(command)} ended with {code}")


def reserve_port() -> int:
    """A port of the loopback interface that a server may have until this process ends.

    A socket stays bound to it and never listens. With SO_REUSEADDR on both sides Linux lets a
    server listen there, and gives the port to no other program that asks for any (socket(7)).
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", 0))
    _reserved.append(holder)
    port: int = holder.getsockname()[1]
    return port


def _environment() -> dict[str, str]:
    """The environment, without what would configure imaged."""
    return {name: value for name, value in os.environ.items() if not name.startswith("IMAGED_")}
