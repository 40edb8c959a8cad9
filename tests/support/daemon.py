"""A real daemon: a process of its own, on a backend and a free port, that can be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from support.backend import Backend, FolderBackend
from support.imaged_process import ImagedProcess, Invocation, run_imaged
from support.ports import reserve_port
from support.waiting import until

#: Beginnings of the names of variables that imaged reads.
_CONFIGURING = ("IMAGED_", "OS_", "XDG_CONFIG_")

#: How many processes answer; tests of several say so themselves.
PROCESSES = int(os.environ.get("IMAGED_TEST_PROCESSES", "1"))

#: Leases so short that a test can wait for them.
FAST_SETTINGS: Mapping[str, Mapping[str, object]] = {
    "auth": {"method": "none"},
    "claims": {"lease": "2s", "renew_every": "500ms"},
    "scrubber": {"delay": "0", "every": "300ms"},
    "log": {"level": "info", "format": "json"},
}


@dataclass
class Daemon:
    """``imaged serve``; its catalog and its one store are in the folder, or on another backend."""

    folder: Path
    settings: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    name: str = "imaged"
    port: int = 0
    process: ImagedProcess | None = None
    on: Backend | None = None
    program: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Make what an operator would have made."""
        self.backend = self.on or FolderBackend(self.folder)
        self.port = self.port or reserve_port()
        self.scratch.mkdir(exist_ok=True)
        self.configure()

    @property
    def config(self) -> Path:
        """The configuration."""
        return self.folder / f"{self.name}.toml"

    @property
    def log_file(self) -> Path:
        """Where standard error goes, over all lives."""
        return self.folder / f"{self.name}.log"

    @property
    def scratch(self) -> Path:
        """Where it converts."""
        return self.folder / "scratch"

    @property
    def url(self) -> str:
        """The root of the API."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> Mapping[str, str]:
        """What its processes find around them."""
        return {**clean_environment(), **self.backend.environment}

    def configure(self, **changes: Mapping[str, object]) -> None:
        """Write the configuration; ``changes`` are sections whose keys are replaced."""
        sections: dict[str, dict[str, object]] = {
            "api": {"bind": [f"127.0.0.1:{self.port}"], "processes": PROCESSES},
            "tasks": {"key_file": str(self.folder / "task.key")},
            "conversion": {"scratch": str(self.scratch), "min_free": "0"},
        }
        for more in (self.backend.sections, FAST_SETTINGS, self.settings, changes):
            for section, keys in more.items():
                sections.setdefault(section, {}).update(keys)
        text = "\n".join(_section(name, keys) for name, keys in sections.items())
        self.config.write_text(text)

    async def start(self) -> None:
        """Start it, and wait until it is ready. If that fails, nothing of it is left running."""
        self.launch()
        try:
            await self.wait_ready()
        except BaseException:
            await self.end(signal.SIGKILL)
            raise

    def launch(self) -> None:
        """Start it, and do not wait."""
        self.process = self.imaged("serve", "--config", str(self.config), log=self.log_file)

    def imaged(self, *arguments: str, log: Path) -> ImagedProcess:
        """Start ``imaged`` beside it, in the same environment."""
        return ImagedProcess(
            Invocation(arguments, self.environment, log, log, Path.cwd(), self.program)
        )

    async def wait_ready(self) -> None:
        """Return when it answers that it is ready."""
        async with aiohttp.ClientSession() as session:

            async def is_ready() -> bool:
                if self.process is not None and self.process.poll() is not None:
                    raise ChildProcessError(self.log_text())
                try:
                    async with session.get(f"{self.url}/readyz") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await until(is_ready, "the daemon is not ready")

    async def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, and return the exit code. SIGKILL is for its other
        processes, too, as a power cut would be.
        """
        if self.process is None:
            return 0
        process, self.process = self.process, None
        if process.poll() is None:
            workers = descendants_of(process.pid) if how is signal.SIGKILL else []
            process.send_signal(how)
            for worker in workers:
                with suppress(ProcessLookupError):
                    os.kill(worker, how)
        return await process.end()

    def reload(self) -> None:
        """Have it read its configuration again."""
        if self.process is not None:
            self.process.send_signal(signal.SIGHUP)

    async def command(self, *arguments: str) -> tuple[int, str, str]:
        """Run another command of ``imaged`` on the same configuration; code, output, errors."""
        name, *rest = arguments
        done = await asyncio.to_thread(
            run_imaged, name, "--config", str(self.config), *rest, environment=self.environment
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def log_text(self) -> str:
        """All that it logged, over all lives."""
        return self.log_file.read_text() if self.log_file.exists() else ""

    def events(self) -> list[dict[str, Any]]:
        """Its log, line by line; the last one may still be written."""
        lines = self.log_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.startswith("{") and line[-1] == "\n"]

    def told(self, event: str) -> list[dict[str, Any]]:
        """What it logged of an event."""
        return [line for line in self.events() if line["event"] == event]

    async def until_told(self, event: str, times: int = 1) -> None:
        """Wait until an event was logged so often."""

        async def is_told() -> bool:
            return len(self.told(event)) >= times

        await until(is_told, f"{event} is not told", 60)

    def peak_memory_mib(self) -> float:
        """The most memory that this life of it ever had, and that of its other processes."""
        assert self.process is not None
        pid = self.process.pid
        return sum(_peak_kib(one) for one in (pid, *descendants_of(pid))) / 1024


def children_of(pid: int) -> list[int]:
    """The processes that it has started, also zombies."""
    found: list[int] = []
    with suppress(OSError):  # it, or a thread, has ended meanwhile
        for thread in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (thread / "children").read_text().split()]
    return found


def descendants_of(pid: int) -> list[int]:
    """The processes that it has started, and those that these have."""
    return [found for child in children_of(pid) for found in (child, *descendants_of(child))]


def _peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise LookupError("VmHWM")


def clean_environment() -> dict[str, str]:
    """The environment, without what would configure imaged, or the servers that this user uses."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_CONFIGURING)}
    return {**kept, "XDG_CONFIG_HOME": "/nonexistent"}


def _section(name: str, keys: Mapping[str, object]) -> str:
    lines = [f"{key} = {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([f"[{name}]", *lines, ""])
