"""pg_dump and pg_restore, the programs that copy a whole database.

Each must be as new as what it reads: pg_dump as the server, pg_restore as the pg_dump that wrote
the file. A password goes to them in the environment: all users see command lines.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from imaged.catalogs.postgresql.url import (
    ACCEPTED_VALUES,
    DRIVER_PARAMETERS,
    OWN_PARAMETERS,
    parse_catalog_url,
)
from imaged.core.errors import BackupError

_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
_NOT_OF_LIBPQ = frozenset({"database", "password"})
_LIBPQ_PARAMETERS = {*DRIVER_PARAMETERS, *ACCEPTED_VALUES, *OWN_PARAMETERS} - _NOT_OF_LIBPQ


def dump_database(
    url: str, password_file: Path | None, file: Path, *, snapshot: str, server_version: int
) -> int:
    """Write the state that the snapshot shows into a file, in the format of pg_restore; returns the
    version of pg_dump.

    Versions are major numbers. Raises BackupError.
    """
    version = _require_program("pg_dump", server_version, "the server")
    options = ["--format=custom", "--no-owner", "--no-privileges"]
    _run("pg_dump", url, password_file, *options, f"--snapshot={snapshot}", f"--file={file}")
    return version


def restore_database(
    url: str, password_file: Path | None, file: Path, *, dump_version: int, replace: bool
) -> None:
    """Put a dump into the database: all of it, or nothing.

    ``dump_version``: of the pg_dump that wrote it. ``replace``: drop the tables that are there.
    Raises BackupError.
    """
    _require_program("pg_restore", dump_version, "the pg_dump that wrote the file")
    options = ["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"]
    if replace:
        options += ["--clean", "--if-exists"]
    _run("pg_restore", url, password_file, *options, str(file))


def connection_for_libpq(url: str) -> tuple[str, str]:
    """The URL of a catalog as programs of PostgreSQL read it, and the password in it, or "".

    Settings of the server, which the catalog's URL may have, become ``options``.
    Raises CatalogError; BackupError for sslpassword, which no variable of the environment has.
    """
    parse_catalog_url(url)
    parts = urlsplit(url)
    credentials, at, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    parameters = dict(parse_qsl(parts.query))
    if "sslpassword" in parameters:
        raise BackupError(
            "All users would see the sslpassword of catalog.url: put it into a service file of "
            "PostgreSQL, and name that by service=NAME."
        )
    known = {name: value for name, value in parameters.items() if name in _LIBPQ_PARAMETERS}
    if "database" in parameters:
        known["dbname"] = parameters["database"]
    own = {*parameters} - {*known, *_NOT_OF_LIBPQ}
    settings = [f"-c {name}={_escaped(parameters[name])}" for name in sorted(own)]
    if settings:
        known["options"] = " ".join([*filter(None, [known.get("options")]), *settings])
    query = urlencode(known, quote_via=quote)  # libpq does not read "+" as a space
    bare = f"{parts.scheme}://{user}{at}{hosts}{parts.path}{'?' if query else ''}{query}"
    return bare, unquote(password) or parameters.get("password", "")


def _run(program: str, url: str, password_file: Path | None, *options: str) -> None:
    where, password = connection_for_libpq(url)
    environment = {**os.environ, **_password(password_file, password)}
    done = subprocess.run(  # noqa: S603 - a program of PostgreSQL, with options of ours
        [program, "--no-password", f"--dbname={where}", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if done.returncode:
        raise BackupError(f"{program} failed: {done.stderr.strip() or done.returncode}")


def _password(file: Path | None, in_url: str) -> Mapping[str, str]:
    if file is None:
        return {"PGPASSWORD": in_url} if in_url else {}
    try:
        return {"PGPASSWORD": file.read_text("utf-8").rstrip("\r\n")}
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise BackupError(f"The file {file} cannot be read: {why}.") from error


def _require_program(program: str, least_version: int, of: str) -> int:
    """The version of the program. Raises BackupError unless it is installed, and new enough."""
    package = f"postgresql-client-{least_version}"
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise BackupError(
            f"{program} cannot be started, which a backup of PostgreSQL needs: install the package "
            f"postgresql-client, or {package} of PostgreSQL's own repository."
        ) from error
    found = _VERSION.search(said.stdout)
    if found is None or int(found[1]) < least_version:
        raise BackupError(
            f"{said.stdout.strip()} is older than {of}, which has version {least_version}: install "
            f"the package {package}, of Debian or of PostgreSQL's own repository."
        )
    return int(found[1])


def _escaped(value: str) -> str:
    """The value as an argument in ``options``."""
    return value.replace("\\", "\\\\").replace(" ", "\\ ")
