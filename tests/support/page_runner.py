"""A reader of pages: a shell in a clone of his own, and a terminal beside it."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Self
from urllib.error import URLError
from urllib.request import urlopen

from support.daemon import clean_environment
from support.page_examples import AFTER_CTRL_C, ROOT, Block
from support.ports import reserve_port
from support.waiting import wait_until

PLACE = "127.0.0.1:9292"  # where the pages have imaged
FIRST_TERMINAL = "make run"
REQUIRED_PROGRAMS = ("bash", "curl", "make")  # what the pages say that a reader has
READY_TIMEOUT_SECONDS = 60

#: What a shell says at any moment of a job that was killed.
_NOTICE = re.compile(r"^/dev/fd/\d+: line \d+: +\d+ Killed .*\n", re.MULTILINE)
_OURS = re.compile(r"OS_|VENV$|MAKE|MFLAGS$")  # variables that a reader does not have


@dataclass
class PageRunner:
    """Types what a page says in a clone: a shell, and a terminal beside it."""

    folder: Path
    replacements: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make a clone that has its virtual environment already: this one."""
        missing = [program for program in REQUIRED_PROGRAMS if shutil.which(program) is None]
        assert not missing, f"the pages need these: apt-get install {missing}"
        self._port = reserve_port()
        for name in ("Makefile", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.folder)
        shutil.copytree(ROOT / "config", self.folder / "config")
        (self.folder / ".venv").mkdir()
        (self.folder / ".venv/bin").symlink_to(Path(sys.executable).parent)
        (self.folder / ".venv/.run").touch()
        self.environment = {
            **{name: text for name, text in clean_environment().items() if not _OURS.match(name)},
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / ".config"),
            "IMAGED_API__BIND": f"127.0.0.1:{self._port}",
            "IMAGED_CLAIMS__LEASE": "2s",  # the pages wait for the end of one
            "IMAGED_CLAIMS__RENEW_EVERY": "500ms",
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        self._terminal: subprocess.Popen[bytes] | None = None
        self._count = self._seen = 0

    def __enter__(self) -> Self:
        script, self._typing = os.pipe()
        self._output = self.folder / "shell.log"
        with self._output.open("wb") as output:
            self._shell = self._start("bash", "--norc", f"/dev/fd/{script}", to=output, fd=script)
        os.close(script)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._typing)
        self.press_ctrl_c()
        _end(self._shell, signal.SIGKILL)

    def follow(self, block: Block) -> None:
        """Paste the block as a whole, and compare what each command shows. Raises AssertionError.

        Nothing waits between its commands but what the page says.
        """
        if block.mark == AFTER_CTRL_C:
            self.press_ctrl_c()
        steps = [step for step in block.steps if step.command[2:] != FIRST_TERMINAL]
        if steps != [*block.steps]:
            self._open_terminal(FIRST_TERMINAL)
        self._seen = len(self._output.read_bytes())
        pasted = [(step, self._write(step.command[2:])) for step in steps]
        for step, number in pasted:
            code, output = self._read(number, step.command)
            where = f"{block.page}:{block.line}: {step.command}"
            assert code == 0, f"{where}\nended with {code}:\n{output}"
            assert not step.shown or step.is_shown_by(output), (
                f"{where}\nsays\n{step.shown}\nand shows\n{output}"
            )

    def type(self, command: str) -> tuple[int, str]:
        """Run a command in the shell; its exit code, and what it showed."""
        self._seen = len(self._output.read_bytes())
        return self._read(self._write(command), command)

    def _write(self, command: str) -> int:
        """Write a command into the shell, and one that says how it ended; the number of the two."""
        for said, meant in {**self.replacements, PLACE: f"127.0.0.1:{self._port}"}.items():
            command = command.replace(said, meant)
        self._count += 1
        os.write(self._typing, f"{command}\nprintf '\\036{self._count}:%d\\n' $?\n".encode())
        return self._count

    def _read(self, number: int, command: str) -> tuple[int, str]:
        """Wait for the end of a command; its exit code, and what it showed."""
        end = re.compile(rf"\x1e{number}:(\d+)\n".encode())

        def written() -> bytes:
            return self._output.read_bytes()[self._seen :]

        wait_until(
            lambda: end.search(written()) or self._shell.poll() is not None,
            lambda: f"{command}\nnever ended, and showed\n{written()!r}",
            READY_TIMEOUT_SECONDS,
        )
        found = end.search(written())
        assert found is not None, f"{command}\nended the shell, and showed\n{written()!r}"
        shown = _NOTICE.sub("", written()[: found.start()].decode(errors="replace"))
        self._seen += found.end()
        return int(found[1]), shown.replace(f"127.0.0.1:{self._port}", PLACE)

    def press_ctrl_c(self) -> None:
        """End what runs in the first terminal."""
        if self._terminal is not None:
            _end(self._terminal, signal.SIGINT)
            self._terminal = None

    def _open_terminal(self, command: str) -> None:
        with (self.folder / "terminal.log").open("ab") as log:
            self._terminal = self._start("bash", "-c", command, to=log)

    def _start(
        self, *command: str, to: IO[bytes], fd: int | None = None
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=to,
            stderr=subprocess.STDOUT,
            pass_fds=() if fd is None else (fd,),
            start_new_session=True,
        )

    def wait_ready(self) -> None:
        """Return when imaged answers. Raises AssertionError."""
        log = self.folder / "terminal.log"
        wait_until(
            self._is_ready,
            lambda: f"it is not ready\n{log.read_text() if log.exists() else ''}",
            READY_TIMEOUT_SECONDS,
        )

    def _is_ready(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5) as answer:
                return bool(answer.status == 200)
        except (URLError, ConnectionError):
            return False


def _end(process: subprocess.Popen[bytes], how: signal.Signals) -> None:
    """Send a signal to a process and its children, all of which are ours, and wait."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, how)
    try:
        process.wait(READY_TIMEOUT_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
