"""A booted machine with imaged installed in it, as the how-to tells an operator.

systemd is the first process of namespaces of its own (``boot.sh``). Files and processes of the
machine can be reached from outside; its network has only a loopback, and a thread that wants to
talk to it has to step in (``inside``).
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import TypeVar

from imaged.core.place_marker import MARKER_NAME
from support.root_image import PROJECT, VENV, build_wheel, require_tools, root_image

T = TypeVar("T")

BOOT = Path(__file__).with_name("boot.sh")
SOURCE = "/usr/src/imaged"
HOME = "/srv/operator"  # of the user who follows pages
PORT = 9292
BOOT_TIMEOUT_SECONDS = 60
NEW_NETWORK = 0x40000000  # CLONE_NEWNET


@dataclass(frozen=True)
class Machine:
    """Known by its first process."""

    init: int
    network: ThreadPoolExecutor  # of one thread, which is in the machine's network

    def run(self, *command: str) -> str:
        """Run a command to its end; what it printed. It must succeed."""
        done = self.attempt(*command)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def attempt(
        self, *command: str, timeout_seconds: float = BOOT_TIMEOUT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """The same, however it ends."""
        enter = ("nsenter", f"--target={self.init}", "-m", "-p", "-u", "-i", "-C", "-n", "-r", "-w")
        clean = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
        return subprocess.run(
            [*enter, *clean, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            check=False,
            timeout=timeout_seconds,
            start_new_session=True,  # without a terminal, so that prompts read what is given
        )

    def path(self, path: str) -> Path:
        """A file of the machine, from outside. Links to roots lead astray."""
        return Path(f"/proc/{self.init}/root{path}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file, and make its folder."""
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def inside(self, action: Callable[[], T]) -> T:
        """Do something in the machine's network: sockets and children made there stay there."""
        return self.network.submit(action).result()

    def connect(self, port: int = PORT) -> HTTPConnection:
        """A connection to a port of the machine. Raises ConnectionRefusedError."""
        connection = HTTPConnection("127.0.0.1", port, timeout=BOOT_TIMEOUT_SECONDS)
        connection.sock = self.inside(
            lambda: socket.create_connection(("127.0.0.1", port), BOOT_TIMEOUT_SECONDS)
        )
        return connection

    def wait_until_up(self) -> None:
        """Wait until everything is started that is started with the machine."""
        until(
            lambda: self.attempt("systemctl", "is-system-running"),
            lambda done: done.stdout.strip() in {"running", "degraded"},
            lambda: "the machine does not come up",
        )

    # units

    def systemctl(self, *arguments: str) -> str:
        """Ask the service manager for something."""
        return self.run("systemctl", *arguments)

    def show(self, unit: str, prop: str) -> str:
        """What the service manager knows of a unit."""
        return self.systemctl("show", unit, f"--property={prop}", "--value").strip()

    def wait_for(self, unit: str, prop: str, is_right: Callable[[str], bool]) -> str:
        """Wait until a property of a unit is right, and return it."""
        return until(
            lambda: self.show(unit, prop),
            is_right,
            lambda: f"{unit}: {prop}={self.show(unit, prop)}\n{self.log(unit)}",
        )

    def override(self, unit: str, settings: Mapping[str, str], section: str = "Service") -> None:
        """Change a unit as ``systemctl edit`` does."""
        lines = [f"[{section}]", *(f"{key}={value}" for key, value in settings.items()), ""]
        self.write(f"/etc/systemd/system/{unit}.d/test.conf", "\n".join(lines))
        self.systemctl("daemon-reload")

    def configure(self, text: str) -> None:
        """Write a drop-in of imaged's configuration."""
        self.write("/etc/imaged/conf.d/test.toml", text)

    def stored(self) -> list[Path]:
        """The bytes in imaged's folder, whole or not."""
        found = self.path("/var/lib/imaged/images").rglob("*")
        return [path for path in found if path.is_file() and path.name != MARKER_NAME]

    def log(self, *units: str) -> str:
        """The journal of these units, the last part of it."""
        return self.attempt("journalctl", "-n200", *(f"--unit={unit}" for unit in units)).stdout

    def install(self) -> None:
        """What the how-to says after the virtual environment."""
        self.run("make", "-C", SOURCE, "install-system")

    def clear(self) -> None:
        """As if freshly installed: neither configured nor used."""
        self.attempt("systemctl", "disable", "--now", "imaged.socket")
        self.attempt("systemctl", "kill", "--signal=KILL", "imaged*")
        self.attempt("systemctl", "stop", "imaged*")
        self.attempt("systemctl", "reset-failed")
        for place in self.path("/etc/systemd/system").glob("imaged*"):
            shutil.rmtree(place) if place.is_dir() else place.unlink()
        for folder in ("/etc/imaged", "/var/lib/imaged", f"{HOME}/.config/imaged"):
            shutil.rmtree(self.path(folder), ignore_errors=True)
        self.attempt("journalctl", "--rotate")
        self.attempt("journalctl", "--vacuum-time=1s")
        self.install()


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a machine and install imaged; nothing of it is left afterwards."""
    require_tools()
    root, wheel = root_image(), build_wheel(folder)
    with _boot(root, folder / "boot.log") as machine:
        shutil.copy(wheel, machine.path("/srv"))
        install = ("install", "--quiet", "--no-index", "--no-deps", f"/srv/{wheel.name}")
        machine.run(f"{VENV}/bin/pip", *install)
        machine.run("ln", "-s", f"{VENV}/bin/imaged", "/usr/bin/imaged")
        machine.install()
        yield machine


def until(ask: Callable[[], T], is_right: Callable[[T], bool], complaint: Callable[[], str]) -> T:
    """Ask again and again until the answer is right, or fail with a complaint."""
    deadline = time.monotonic() + BOOT_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        answer = ask()
        if is_right(answer):
            return answer
        time.sleep(0.05)  # the machine does not notify
    raise AssertionError(complaint())


@contextmanager
def _boot(root: Path, log: Path) -> Iterator[Machine]:
    group = _control_groups() / f"imaged-test-{os.getpid()}"
    group.mkdir()
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(BOOT), str(root), str(PROJECT), str(group)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        try:
            init = _first_process(process, log)
            try:
                with ThreadPoolExecutor(1, initializer=_step_into, initargs=(init,)) as network:
                    machine = Machine(init, network)
                    machine.wait_until_up()
                    yield machine
            finally:
                os.kill(init, signal.SIGKILL)  # and with it everything in there
        finally:
            process.kill()
            process.wait()
    finally:
        _remove(group)


def _first_process(process: subprocess.Popen[bytes], log: Path) -> int:
    """The child of ``unshare``, once it has become systemd."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def systemd() -> int | None:
        assert process.poll() is None, log.read_text()
        for child in children.read_text().split():
            if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                return int(child)
        return None

    return until(systemd, lambda pid: pid is not None, log.read_text) or 0


def _step_into(init: int) -> None:
    """Bring this thread into the network of a machine."""
    with Path(f"/proc/{init}/ns/net").open() as network:
        if ctypes.CDLL(None, use_errno=True).setns(network.fileno(), NEW_NETWORK):
            raise OSError(ctypes.get_errno(), "setns")


def _control_groups() -> Path:
    """Where control groups of version 2 are, alone or beside those of version 1."""
    top = Path("/sys/fs/cgroup")
    return next(path for path in (top / "unified", top) if (path / "cgroup.procs").exists())


def _remove(group: Path) -> None:
    """Remove a control group when the last of its processes is gone."""
    until(
        (group / "cgroup.events").read_text,
        lambda events: "populated 0" in events,
        lambda: f"{group} is not empty",
    )
    for folder, _, _ in os.walk(group, topdown=False):
        Path(folder).rmdir()
