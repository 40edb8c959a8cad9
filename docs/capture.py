"""Capture every command in a real terminal of 80 and of 100 columns.

    .venv/bin/python docs/capture.py

It writes ``docs/reference/terminal.md``, and needs tmux. Each command is typed into a terminal of
its own, in a new folder with a daemon of its own, which end with it. Ids differ from run to run, so
the page is not among those that `make docs` writes; ``tests/docs/test_captures.py`` reads it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from pathlib import Path
from shlex import quote
from urllib.request import Request, urlopen

PAGE = Path(__file__).parent / "reference/terminal.md"
FOLDER = Path("/tmp/imaged-captures")  # noqa: S108 - its name is in the captures
LOCK = FOLDER.with_suffix(".lock")
WIDTHS = (80, 100)  # columns
HEIGHT = 120  # lines, so that nothing scrolls
PORT = 19_292
URL = f"http://127.0.0.1:{PORT}"
STARTED = "daemon.started"  # an event
SECONDS = 30  # for one command, or the start of the daemon

CONFIG = f"""\
[daemon]
name = "near-1"
[api]
bind = ["127.0.0.1:{PORT}"]
[catalog]
url = "sqlite:///./catalog.db"
[stores.local]
type = "filesystem"
path = "./images"
min_free = "0"
[scrubber]
delay = "2h"
every = "0"
[conversion]
scratch = "./scratch"
"""

GOLDEN = "1064a2d0-b4d3-4ce3-92ab-7e5d8befd90d"
LONG = "2b7c0a53-6d0f-4d6e-9c7e-0f4d1d2f8a61"
OLD = "3e1f5b90-8a4b-4c55-8d0a-5a6b7c8d9e0f"
GONE = "4f2a6ca1-9b5c-4d66-8e1b-6b7c8d9eaf10"
LEAKED = "5a3b7db2-0c6d-4e77-9f2c-7c8d9eafb021"
IMAGES: dict[str, dict[str, object]] = {
    GOLDEN: {"name": "golden", "tags": ["base"], "os_distro": "debian"},
    LONG: {"name": "an image with a name that has no end, for all who like long names"},
    OLD: {"name": "old"},
    GONE: {"name": "gone"},
    LEAKED: {"name": "leaked"},
}
TASK = "TASK"  # stands for the id of the first task

#: What is typed, in this order. Services do not end by themselves: their help is shown.
TYPED = (
    "imaged --help",
    "imaged version",
    "imaged serve --help",
    "imaged work --help",
    "imaged check-config --config imaged.toml",
    "imaged config --config imaged.toml --no-defaults",
    "imaged config --config imaged.toml scrubber",
    "imaged migrate --config imaged.toml",
    "imaged doctor --config imaged.toml",
    f"imaged login {URL} --profile lab",
    "imaged profiles",
    "imaged push disk.raw",
    "imaged push disk.raw --disk-format qcow2 --name mistaken",
    "imaged pull golden -o copy.raw",
    "imaged ls",
    "imaged ls --wide",
    "imaged ls --no-trunc",
    "imaged show golden",
    "imaged set golden --tag stable -p os_version=12",
    "imaged rm old",
    "imaged pending --config imaged.toml",
    "imaged pending --config imaged.toml --wide",
    f"imaged restore {OLD} --config imaged.toml",
    f"imaged purge {LEAKED} --config imaged.toml --yes",
    "imaged tasks list --config imaged.toml",
    "imaged tasks list --config imaged.toml --wide",
    f"imaged tasks show {TASK} --config imaged.toml",
    f"imaged tasks cancel {TASK} --config imaged.toml",
    "imaged status --config imaged.toml",
    "IMAGED_SCRUBBER__DELAY=0 imaged scrub --dry-run --config imaged.toml",
    "IMAGED_SCRUBBER__DELAY=0 imaged scrub --once --config imaged.toml",
    "imaged reconcile --config imaged.toml",
    "imaged quota web --config imaged.toml --total 500GiB",
    "imaged backup backups --config imaged.toml",
    "imaged restore-backup backups/2* --check --config imaged.toml",
    "imaged token --help",
    "imaged completion --help",
    "imaged show nothing",
    "imaged lst",
    "imaged status --config imaged.toml --watch",
    "imaged push big.raw --disk-format raw",
    "imaged adopt-store local --config imaged.toml --yes",
    "imaged logout",
)

#: Commands that are captured while they work, as soon as they show this.
UNTIL = {
    "imaged push big.raw --disk-format raw": r"[1-9]\d %.* left",
    "imaged status --config imaged.toml --watch": "last seen",
}

HEAD = """\
# Commands in a terminal

Captured by `docs/capture.py`; do not edit. Every command of imaged was typed into a terminal of 80
columns, and into one of 100. No line break is within an id: other texts are folded, or stand below
their row. {reference}
"""
REFERENCE = "What the commands and their options do is in [the reference](cli.md)."


@dataclass(frozen=True)
class Terminals:
    """A server of tmux, with a terminal of this width for each command."""

    columns: int
    name: str = "imaged-captures"

    def type(self, command: str, terminal: str, until: str | None) -> list[str]:
        """The lines on the screen when the command has ended, or shows what matches ``until``.
        ``terminal``: a new name.
        """
        script = f"{command}; tmux -L {self.name} wait-for -S {terminal}; exec sleep {SECONDS}"
        size = ("-x", str(self.columns), "-y", str(HEIGHT))
        self._tmux("new-session", "-d", "-s", terminal, *size, f"bash -c {quote(script)}")
        if until is None:
            self._tmux("wait-for", terminal)
            return self._screen(terminal).splitlines()
        deadline = time.monotonic() + SECONDS
        while not re.search(until, screen := self._screen(terminal)):
            if time.monotonic() > deadline:
                raise TimeoutError(screen)
        return screen.splitlines()

    def _screen(self, terminal: str) -> str:
        return self._tmux("capture-pane", "-p", "-t", terminal).rstrip()

    def close(self) -> None:
        """End the server, and what runs in its terminals."""
        self._tmux("kill-server")

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-u", "-L", self.name, "-f", "/dev/null", *arguments],
            check=True,
            capture_output=True,
            cwd=FOLDER,
            encoding="utf-8",
            env=_environment(),
            timeout=SECONDS,
        )
        return done.stdout


def capture(columns: int) -> Iterator[tuple[str, list[str]]]:
    """Each command, with what a terminal of this width shows."""
    with _daemon():
        task = _fill()
        with closing(Terminals(columns)) as terminals:
            for number, command in enumerate(TYPED):
                typed = command.replace(TASK, task)
                shown = terminals.type(typed, f"terminal-{number}", UNTIL.get(command))
                yield typed, shown


def main() -> None:
    """Write the page."""
    parts = [HEAD.format(reference=REFERENCE)]
    for columns in WIDTHS:
        parts.append(f"## {columns} columns\n")
        for command, lines in capture(columns):
            parts.append("\n".join(["```text", f"$ {command}", *lines, "```", ""]))
    PAGE.write_text("\n".join(parts), encoding="utf-8")


@contextmanager
def _daemon() -> Iterator[None]:
    """A daemon in a new folder, which is removed at the end.

    Another capture is waited for: it has the same folder and port, which the captures show.
    """
    with LOCK.open("w") as lock:
        flock(lock, LOCK_EX)
        with _daemon_of_its_own():
            yield


@contextmanager
def _daemon_of_its_own() -> Iterator[None]:
    shutil.rmtree(FOLDER, ignore_errors=True)
    for name in ("images", "scratch", "config", "backups"):
        (FOLDER / name).mkdir(parents=True)
    (FOLDER / "imaged.toml").write_text(CONFIG)
    (FOLDER / "disk.raw").write_bytes(os.urandom(20 << 20))
    with (FOLDER / "big.raw").open("wb") as big:
        big.truncate(4 << 30)
    with (FOLDER / "log").open("wb") as log:
        daemon = subprocess.Popen(
            ["imaged", "serve", "--config", "imaged.toml"],
            cwd=FOLDER,
            env=_environment(),
            stdout=log,
            stderr=log,
        )
    try:
        _wait_until_started(daemon)
        yield
    finally:
        daemon.terminate()
        daemon.wait(SECONDS)
        shutil.rmtree(FOLDER)


def _fill() -> str:
    """Create what the commands show; the id of a task that has ended."""
    data = (FOLDER / "disk.raw").read_bytes()
    for image_id, attributes in IMAGES.items():
        formats = {"disk_format": "raw", "container_format": "bare"}
        _ask("POST", "/v2/images", {"id": image_id, **formats, **attributes})
        if image_id != OLD:
            _ask("PUT", f"/v2/images/{image_id}/file", data)
    _ask("PUT", f"/v2/images/{OLD}/file", b"old")
    for image_id in (GONE, LEAKED):
        _ask("DELETE", f"/v2/images/{image_id}")
    next((FOLDER / "images").rglob(f"{LONG}*")).write_bytes(b"other bytes")
    _ask("POST", "/v2/tasks", {"type": "verify", "input": {"image_id": LONG}})
    task = _ask("POST", "/v2/tasks", {"type": "verify", "input": {"image_id": GOLDEN}})["id"]
    deadline = time.monotonic() + SECONDS
    while _ask("GET", f"/v2/tasks/{task}")["status"] != "success":
        if time.monotonic() > deadline:
            raise TimeoutError(task)
        time.sleep(0.1)  # leaves the processor to the daemon
    return str(task)


def _ask(
    method: str, path: str, body: bytes | dict[str, object] | None = None
) -> dict[str, object]:
    kind = "application/octet-stream" if isinstance(body, bytes) else "application/json"
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    request = Request(URL + path, data, {"Content-Type": kind}, method=method)  # noqa: S310
    with urlopen(request, timeout=SECONDS) as answer:  # noqa: S310
        text = answer.read()
    return dict(json.loads(text)) if text else {}


def _wait_until_started(daemon: subprocess.Popen[bytes]) -> None:
    """Its log tells: another program may answer at the port."""
    deadline = time.monotonic() + SECONDS
    while STARTED not in (told := (FOLDER / "log").read_text()):
        if time.monotonic() > deadline or daemon.poll() is not None:
            raise RuntimeError(told)
        time.sleep(0.1)  # its log sets no event of ours


def _environment() -> dict[str, str]:
    """That of a user of this virtual environment who has configured nothing else."""
    kept = {name: os.environ[name] for name in ("PATH",) if name in os.environ}
    return {
        "PATH": f"{Path(sys.executable).parent}:{kept.get('PATH', '/usr/bin:/bin')}",
        "HOME": str(FOLDER),
        "XDG_CONFIG_HOME": str(FOLDER / "config"),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
    }


if __name__ == "__main__":
    main()
