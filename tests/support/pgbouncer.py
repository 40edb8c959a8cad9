"""PgBouncer, from the operating system's package: a pooler between a catalog and its server."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from support.orphans import give_to_unprivileged, unprivileged
from support.ports import reserve_port
from support.postgresql import SUPERUSER_ROLE
from support.waiting import wait_until

START_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class PgBouncer:
    """Pools the connections to one server."""

    port: int

    def url_of(self, url: str) -> str:
        """The URL of the same database, through here."""
        return urlunsplit(urlsplit(url)._replace(netloc=f"{SUPERUSER_ROLE}@127.0.0.1:{self.port}"))


@contextmanager
def pgbouncer(server_url: str, **settings: str) -> Iterator[PgBouncer]:
    """A pooler of its own, with these settings of ``pgbouncer.ini``."""
    folder = Path(tempfile.mkdtemp(prefix="imaged-pgbouncer-"))
    server, port = urlsplit(server_url), reserve_port()
    users, file, log = folder / "users", folder / "pgbouncer.ini", folder / "log"
    users.write_text(f'"{SUPERUSER_ROLE}" ""\n')
    lines = {
        "listen_addr": "127.0.0.1",
        "listen_port": str(port),
        "auth_type": "trust",
        "auth_file": str(users),
        "unix_socket_dir": "",
        **settings,
    }
    file.write_text(
        f"[databases]\n* = host={server.hostname} port={server.port}\n[pgbouncer]\n"
        + "".join(f"{name} = {value}\n" for name, value in lines.items())
    )
    give_to_unprivileged(folder)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*unprivileged(), "pgbouncer", str(file)], stdout=output, stderr=output
        )
    try:
        wait_until(
            lambda: "process up" in log.read_text() or process.poll() is not None,
            log.read_text,
            START_TIMEOUT_SECONDS,
        )
        assert process.poll() is None, log.read_text()
        yield PgBouncer(port)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)
