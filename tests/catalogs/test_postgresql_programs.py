"""How pg_dump and pg_restore are called, and what is said if they cannot be used."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from imaged.catalogs.postgresql.programs import (
    connection_for_libpq,
    dump_database,
    restore_database,
)
from imaged.core.errors import BackupError

SECRET = "correcthorse"


@pytest.mark.parametrize(
    ("url", "for_libpq"),
    [
        ("postgresql:///imaged", "postgresql:///imaged"),
        (f"postgresql://imaged:{SECRET}@db/imaged", "postgresql://imaged@db/imaged"),
        (
            f"postgresql://db/imaged?user=imaged&password={SECRET}",
            "postgresql://db/imaged?user=imaged",
        ),
        (
            "postgresql://a,b:5433/imaged?target_session_attrs=read-write&connect_timeout=2",
            "postgresql://a,b:5433/imaged?target_session_attrs=read-write&connect_timeout=2",
        ),
        (
            "postgresql://db/imaged?options=-c%20jit%3Doff&search_path=my%20images",
            "postgresql://db/imaged?options=-c%20jit%3Doff%20-c%20search_path%3Dmy%5C%20images",
        ),
    ],
)
def test_a_url_is_one_that_libpq_reads(url: str, for_libpq: str) -> None:
    """Settings of the server become options, and the password leaves the URL: all users see it."""
    assert connection_for_libpq(url) == (for_libpq, SECRET if SECRET in url else "")


def test_a_password_of_a_key_is_no_argument() -> None:
    """Programs take it from their URL or from a service file alone."""
    with pytest.raises(BackupError, match="service=NAME") as refused:
        connection_for_libpq(f"postgresql://db/imaged?sslkey=/k&sslpassword={SECRET}")
    assert SECRET not in str(refused.value)


def program(folder: Path, name: str, says: str) -> None:
    """A program of another version than that of this machine."""
    (folder / name).write_text(f"#!/bin/sh\necho {shlex.quote(says)}\n")
    (folder / name).chmod(0o700)


def dump(folder: Path) -> None:
    """Dump from a server of version 18."""
    dump_database("postgresql://db/x", None, folder / "dump", snapshot="1", server_version=18)


def restore(folder: Path) -> None:
    """Restore what pg_dump of version 18 wrote."""
    restore_database("postgresql://db/x", None, folder / "dump", dump_version=18, replace=False)


@pytest.mark.parametrize(("name", "run"), [("pg_dump", dump), ("pg_restore", restore)])
def test_a_missing_or_old_program_is_named_with_its_package(
    name: str, run: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is read or written."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BackupError, match=f"{name} cannot be started.*postgresql-client-18"):
        run(tmp_path)

    program(tmp_path, name, f"{name} (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)")
    with pytest.raises(BackupError, match=r"15\.18.* is older than .* 18.*postgresql-client-18"):
        run(tmp_path)
