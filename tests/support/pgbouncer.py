"""PgBouncer, from the operating system's package: a pooler between a catalog and its server."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from support.ports import reserve_port
from support.postgresql import SUPERUSER_ROLE
from support.waiting import wait_until

PROGRAM = "pgbouncer"
START_TIMEOUT_SECONDS = 10


class PgBouncer:
    """Pools the connections to one server."""

    def __init__(self, server_url: str, folder: Path, **settings: str) -> None:
        self._server = urlsplit(server_url)
        self._port = reserve_port()
        self._log = folder / "log"
        self._file = folder / "pgbouncer.ini"
        users = folder / "users"
        users.write_text(f'"{SUPERUSER_ROLE}" ""\n')
        lines = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(self._port),
            "auth_type": "trust",
            "auth_file": str(users),
            "unix_socket_dir": "",
            **settings,
        }
        target = f"host={self._server.hostname} port={self._server.port}"
        self._file.write_text(
            f"[databases]\n* = {target}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items())
        )

    @contextmanager
    def serving(self) -> Iterator[PgBouncer]:
        """Until the end of the block."""
        with self._log.open("ab") as log:
            process = subprocess.Popen(
                [*_as_nobody(), PROGRAM, str(self._file)], stdout=log, stderr=log
            )
        try:
            wait_until(
                lambda: "process up" in self._said() or process.poll() is not None,
                self._said,
                START_TIMEOUT_SECONDS,
            )
            assert process.poll() is None, self._said()
            yield self
        finally:
            process.terminate()
            process.wait(START_TIMEOUT_SECONDS)

    def url_of(self, url: str) -> str:
        """The URL of the same database, through here."""
        return urlunsplit(urlsplit(url)._replace(netloc=f"{SUPERUSER_ROLE}@127.0.0.1:{self._port}"))

    def _said(self) -> str:
        return self._log.read_text("utf-8", "replace")


@contextmanager
def pgbouncer(server_url: str, **settings: str) -> Iterator[PgBouncer]:
    """A pooler of its own, with these settings of ``pgbouncer.ini``."""
    folder = Path(tempfile.mkdtemp(prefix="imaged-pgbouncer-"))
    try:
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        with PgBouncer(server_url, folder, **settings).serving() as pooler:
            yield pooler
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_nobody() -> list[str]:
    """It refuses to run as root, and it shall not outlive us."""
    command = ["setpriv", "--pdeathsig=INT"]
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        command += [f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups"]
    return command
