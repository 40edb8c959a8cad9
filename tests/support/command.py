"""The command line as operators use it: processes, their exit codes and what they print."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from imaged.core.place_marker import MARKER_NAME
from support.daemon import clean_environment
from support.imaged_process import (
    COMMAND_TIMEOUT_SECONDS,
    IMAGED,
    ImagedProcess,
    Invocation,
    run_imaged,
)
from support.orphans import END_WITH_PARENT
from support.service_manager import activating
from support.waiting import wait_until

OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Workspace:
    """A folder with a configuration, a catalog and a store, as small as it can be."""

    folder: Path

    @property
    def file(self) -> Path:
        """The configuration."""
        return self.folder / "imaged.toml"

    @property
    def images(self) -> Path:
        """The store's folder."""
        return self.folder / "images"

    @property
    def catalog(self) -> Path:
        """The catalog's file."""
        return self.folder / "catalog.db"

    def write(self, more: str = "") -> Path:
        """Write the configuration, with more at its end."""
        self.images.mkdir(exist_ok=True)
        self.file.write_text(
            f"""
            [api]
            bind = ["127.0.0.1:0"]
            processes = 1
            [catalog]
            url = "sqlite:///{self.catalog}"
            [stores.local]
            type = "filesystem"
            path = "{self.images}"
            min_free = "0"
            {more}
            """
        )
        return self.file

    def imaged(
        self, command: str, *arguments: str, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on this configuration."""
        return imaged(*command.split(), "--config", str(self.file), *arguments, **environment)


def imaged(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``imaged`` to its end."""
    done = run_imaged(*arguments, environment=clean_environment() | environment)
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode(), done.stderr.decode()
    )


def blobs(folder: Path) -> list[Path]:
    """The files that a store has in its folder."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != MARKER_NAME]


@dataclass
class ServerProcess:
    """A process that serves, and its log. ``token``: shown with each request, if there is one."""

    process: ImagedProcess | subprocess.Popen[bytes]
    log: Path
    token: str = ""
    open: ExitStack = field(default_factory=ExitStack)

    def lines(self) -> list[str]:
        """What it wrote so far, whole lines only."""
        return [line for line in self.log.read_text().splitlines(keepends=True) if line[-1] == "\n"]

    def events(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.lines()]

    def wait_for(self, event: str, count: int = 1) -> dict[str, Any]:
        """Wait until an event was logged so often, and return the last of them."""
        found: list[dict[str, Any]] = []

        def is_there() -> bool:
            has_ended = self.process.poll() is not None  # looked at first: it may log, and end
            found[:] = [one for one in self.events() if one["event"] == event]
            assert len(found) >= count or not has_ended, self.log.read_text()
            return len(found) >= count

        wait_until(
            is_there, lambda: f"no {event} in\n{self.log.read_text()}", COMMAND_TIMEOUT_SECONDS
        )
        return found[count - 1]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{self.wait_for('daemon.started')['bind'][0]}"

    def connect(self) -> HTTPConnection:
        """A connection, closed at the end."""
        place = urlsplit(self.url)
        connection = HTTPConnection(
            str(place.hostname), place.port, timeout=COMMAND_TIMEOUT_SECONDS
        )
        self.open.callback(connection.close)
        return connection

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Ask for something; the status and the body. A body of a POST is JSON."""
        connection = self.connect()
        names = {"Content-Type": "application/json"} if method == "POST" else {}
        names |= self._credentials
        names |= {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        answer = connection.getresponse()
        return answer.status, answer.read()

    @property
    def _credentials(self) -> dict[str, str]:
        return {"X-Auth-Token": self.token} if self.token else {}

    def show(self, path: str) -> Any:
        """What it answers to a GET, read as JSON."""
        return json.loads(self.ask(path)[1])

    def create_image(self, **attributes: object) -> str:
        """An image that waits for its data; its id."""
        formats = {"disk_format": "raw", "container_format": "bare"}
        return self._create("/v2/images", {**formats, **attributes})

    def create_task(self, type_name: str, **fields: str) -> str:
        """A task with this input; its id."""
        return self._create("/v2/tasks", {"type": type_name, "input": fields})

    def _create(self, path: str, record: Mapping[str, object]) -> str:
        status, answer = self.ask(path, "POST", json.dumps(record).encode())
        assert status == 201, answer
        new_id: str = json.loads(answer)["id"]
        return new_id

    def upload(self, image_id: str, data: bytes = b"data", **headers: str) -> int:
        """Send data at once; the status of the answer."""
        path = f"/v2/images/{image_id}/file"
        return self.ask(path, "PUT", data, Content_Type=OCTETS, **headers)[0]

    def begin_upload(self, image_id: str) -> HTTPConnection:
        """Send the first half of ten bytes, and wait until the upload was claimed."""
        connection = self.connect()
        connection.putrequest("PUT", f"/v2/images/{image_id}/file")
        connection.putheader("Content-Type", OCTETS)
        connection.putheader("Content-Length", "10")
        for name, value in self._credentials.items():
            connection.putheader(name, value)
        connection.endheaders(b"12345")
        while self.show(f"/v2/images/{image_id}")["status"] != "saving":
            assert self.process.poll() is None
        return connection

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, and wait for the exit code."""
        self.process.send_signal(how)
        return self.process.wait(COMMAND_TIMEOUT_SECONDS)

    def reload(self) -> None:
        """Have it read its configuration again."""
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def serving(
    file: Path,
    command: str = "serve",
    *,
    sockets: Mapping[str, socket.socket] | None = None,
    **environment: str,
) -> Iterator[ServerProcess]:
    """Serve until the block ends; then it is killed, if it still lives.

    ``sockets`` are handed over by their names, as systemd does.
    """
    log = file.with_suffix(f".{time.monotonic_ns()}.log")
    log.touch()
    arguments = (*command.split(), "--config", str(file))
    environment = clean_environment() | environment
    process: ImagedProcess | subprocess.Popen[bytes]
    if sockets:
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*END_WITH_PARENT, *activating(sockets), IMAGED, *arguments],
                pass_fds=[one.fileno() for one in sockets.values()],
                stdout=output,
                stderr=output,
                env=environment,
            )
    else:
        process = ImagedProcess(Invocation(arguments, environment, log, log, Path.cwd()))
    daemon = ServerProcess(process, log)
    try:
        yield daemon
    finally:
        daemon.open.close()
        process.kill()
        process.wait()
