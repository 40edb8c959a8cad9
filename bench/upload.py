"""Uploads and downloads of one large image, in turn with the limit of the machine.

    python bench/upload.py [--size-mib 1024] [--rounds 5]

Uploads: imaged against ``bare.py`` (receive + md5 + sha512 + write + fsync). Downloads: imaged
against nginx with sendfile, where nginx is installed. Ratios of one run count; absolute numbers
move with the machine. Before each timed run as much is written and removed as it is about to write,
because pages that were never touched cost a virtual machine ten times more.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

MIB = 1 << 20
BENCH = Path(__file__).parent
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def main() -> None:
    """Measure, and print a table."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    arguments.add_argument("--size-mib", type=int, default=1024)
    arguments.add_argument("--rounds", type=int, default=5)
    arguments.add_argument("--folder", type=Path, default=None, help="where the bytes go")
    options = arguments.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.folder)))
        image = make_image(folder / "image", options.size_mib)
        daemon = stack.enter_context(imaged(folder / "imaged"))
        bare = stack.enter_context(bare_receiver(folder / "bare"))
        uploads = measure_uploads(daemon, bare, image, options.rounds, folder)
        print_table(f"upload of {options.size_mib} MiB, with fsync", uploads, options.size_mib)
        if NGINX:
            server = stack.enter_context(nginx(folder / "nginx", image))
            downloads = measure_downloads(daemon, server, image, options.rounds)
            print_table(f"download of {options.size_mib} MiB", downloads, options.size_mib)
        print(
            f"peak memory of imaged: {daemon.peak_mib():.0f} MiB (idle {daemon.idle_mib:.0f} MiB)"
        )


class Server:
    """A process that listens on a port of the loopback interface."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port
        self.idle_mib = self.peak_mib()

    def peak_mib(self) -> float:
        """The most memory that it ever had."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(found[1]) / 1024 if found else float("nan")

    def cpu_seconds(self) -> float:
        """The processor time that it used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_uploads(
    daemon: Server, bare: Server, image: Path, rounds: int, folder: Path
) -> dict[str, list[float]]:
    """Seconds of each upload, by name, in turn."""
    seconds: dict[str, list[float]] = {"imaged": [], "imaged, chunked": [], "bare": []}
    warm_up(folder, image)
    for _ in range(rounds):
        for name, chunked in (("imaged", False), ("imaged, chunked", True)):
            image_id = create(daemon)
            path = f"/v2/images/{image_id}/file"
            before = daemon.cpu_seconds()
            seconds[name].append(timed(partial(put, daemon.port, path, image, chunked=chunked)))
            spent = daemon.cpu_seconds() - before
            print(f"  {name}: {seconds[name][-1]:.2f} s, {spent:.2f} CPU s", file=sys.stderr)
            request(daemon.port, "DELETE", f"/v2/images/{image_id}")
            wait_until_gone(folder / "imaged" / "images")
        before = bare.cpu_seconds()
        seconds["bare"].append(timed(partial(put, bare.port, "/", image, chunked=False)))
        spent = bare.cpu_seconds() - before
        print(f"  bare: {seconds['bare'][-1]:.2f} s, {spent:.2f} CPU s", file=sys.stderr)
    return seconds


def measure_downloads(
    daemon: Server, nginx: Server, image: Path, rounds: int
) -> dict[str, list[float]]:
    """Seconds of each download, by name, in turn."""
    image_id = create(daemon)
    put(daemon.port, f"/v2/images/{image_id}/file", image, chunked=False)
    size = image.stat().st_size
    seconds: dict[str, list[float]] = {"imaged": [], "nginx": []}
    for _ in range(rounds):
        path = f"/v2/images/{image_id}/file"
        seconds["imaged"].append(timed(partial(get, daemon.port, path, size)))
        seconds["nginx"].append(timed(partial(get, nginx.port, "/image", size)))
    return seconds


def print_table(title: str, seconds: dict[str, list[float]], size_mib: int) -> None:
    """Medians, and their ratio to the last line's."""
    limit = statistics.median(list(seconds.values())[-1])
    print(title)
    for name, values in seconds.items():
        median = statistics.median(values)
        speed = size_mib * MIB / median / 1e6
        print(f"  {name:16} {median:6.2f} s  {speed:6.0f} MB/s  {limit / median:5.0%} of the last")


def make_image(path: Path, size_mib: int) -> Path:
    """A file of bytes that do not repeat."""
    block = os.urandom(MIB)
    with path.open("wb") as file:
        for number in range(size_mib):
            file.write(number.to_bytes(8, "big") + block[8:])
    return path


def warm_up(folder: Path, image: Path) -> None:
    """Touch the pages that the first timed run will need."""
    for name in ("warm-1", "warm-2"):
        shutil.copyfile(image, folder / name)
    for name in ("warm-1", "warm-2"):
        (folder / name).unlink()


def wait_until_gone(images: Path) -> None:
    """The bytes of the last upload are scrubbed before the next one begins."""
    deadline = time.monotonic() + 30
    while any(path.is_file() for path in images.rglob("*")):
        if time.monotonic() > deadline:
            raise TimeoutError("the scrubber left bytes behind")
        time.sleep(0.05)


@contextmanager
def imaged(folder: Path) -> Iterator[Server]:
    """The daemon, on SQLite and a folder."""
    (folder / "images").mkdir(parents=True)
    port = free_port()
    config = folder / "imaged.toml"
    config.write_text(
        f"""
        [api]
        bind = ["127.0.0.1:{port}"]
        [auth]
        method = "none"
        [catalog]
        url = "sqlite:///{folder}/catalog.db"
        [stores]
        default = "local"
        [stores.local]
        type = "filesystem"
        path = "{folder}/images"
        min_free = "0"
        [scrubber]
        delay = "0"
        every = "1s"
        [log]
        level = "warning"
        """
    )
    command = [str(Path(sys.executable).with_name("imaged")), "serve", "--config", str(config)]
    with process(command) as running:
        wait_for(port)
        yield Server(running, port)


@contextmanager
def bare_receiver(folder: Path) -> Iterator[Server]:
    """The limit."""
    folder.mkdir()
    with process([sys.executable, str(BENCH / "bare.py"), str(folder)]) as running:
        port = running.stdout.readline() if running.stdout else ""
        yield Server(running, int(port))


@contextmanager
def nginx(folder: Path, image: Path) -> Iterator[Server]:
    """A web server that is known to be quick."""
    folder.mkdir()
    os.link(image, folder / "image")
    folder.chmod(0o755)
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(
        f"""
        daemon off; master_process off; pid {folder}/pid; error_log {folder}/log;
        events {{}}
        http {{ access_log off; sendfile on; tcp_nopush on;
          server {{ listen 127.0.0.1:{port}; root {folder}; }} }}
        """
    )
    command = [str(NGINX), "-e", str(folder / "log"), "-c", str(config), "-p", str(folder)]
    with process(command) as running:
        wait_for(port)
        yield Server(running, port)


@contextmanager
def process(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    """A child that ends with the block."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            running.wait(timeout=30)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def wait_for(port: int) -> None:
    """Return when somebody listens."""
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def timed(call: Callable[[], None]) -> float:
    """How many seconds it took; nobody pays for what was written or deleted before."""
    os.sync()
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def create(server: Server) -> str:
    """A new record; its id."""
    body = json.dumps({"name": "bench", "disk_format": "raw", "container_format": "bare"})
    answer = request(server.port, "POST", "/v2/images", body.encode())
    image_id: str = json.loads(answer)["id"]
    return image_id


def request(port: int, method: str, path: str, body: bytes = b"") -> bytes:
    """A small request; the body of its answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        return answer_of(connection)


def put(port: int, path: str, image: Path, *, chunked: bool) -> None:
    """Upload a file, at the least cost for the client that there is."""
    size = image.stat().st_size
    with socket.create_connection(("127.0.0.1", port)) as connection, image.open("rb") as file:
        head = f"PUT {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n"
        head += "Content-Type: application/octet-stream\r\n"
        head += (
            "Transfer-Encoding: chunked\r\n\r\n" if chunked else f"Content-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode())
        if chunked:
            for offset in range(0, size, MIB):
                length = min(MIB, size - offset)
                connection.sendall(f"{length:x}\r\n".encode())
                connection.sendfile(file, offset, length)
                connection.sendall(b"\r\n")
            connection.sendall(b"0\r\n\r\n")
        else:
            connection.sendfile(file)
        answer_of(connection)


def get(port: int, path: str, size: int) -> None:
    """Download, and look at nothing but the length."""
    received, buffer = 0, bytearray(MIB)
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode())
        while count := connection.recv_into(buffer):
            received += count
    if received < size:
        raise ConnectionError(f"{received} bytes of {size} came")


def answer_of(connection: socket.socket) -> bytes:
    """The body of a good answer."""
    answer = b""
    while chunk := connection.recv(65536):
        answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 2"):
        raise ConnectionError(answer.decode(errors="replace"))
    return body


if __name__ == "__main__":
    main()
