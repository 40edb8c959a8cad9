"""Copies a catalog while daemons use it, and puts a copy back.

The copy shows one state. SQLite writes it with VACUUM INTO, which other writers do not disturb;
for PostgreSQL pg_dump reads the snapshot of a transaction that also counts.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace as with_changes
from datetime import datetime
from functools import partial
from pathlib import Path

from anyio import to_thread
from sqlalchemy import Connection, func, select, text

from imaged.catalogs import installation
from imaged.catalogs.connect import is_postgresql, without_password
from imaged.catalogs.migrations import current_revision, require_idle
from imaged.catalogs.sqlite.catalog_file import has_tables, path_of
from imaged.catalogs.sqlite.engine import (
    DatabaseBusy,
    give_to,
    make_engine,
    run_transaction,
    translated_errors,
)
from imaged.catalogs.tables import blobs, images
from imaged.core.backup import CatalogCopy, backup_name
from imaged.core.blob import BlobState
from imaged.core.errors import (
    BackupError,
    CatalogError,
    CatalogExists,
    CatalogInUse,
    CatalogUnavailable,
)
from imaged.core.lifecycle import Status

SQLITE_FILE, POSTGRESQL_FILE = "catalog.db", "catalog.dump"
BUSY_SECONDS = 30  # while another process opens or closes the file
LIST_ROWS = 1000  # rows in memory at a time
_SUFFIXES = ("", "-wal", "-shm")  # of SQLite's files; a log without its file spoils another one

_NO_TIME_LIMITS = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",  # while pg_dump reads
)
_SERVER_VERSION = text("SELECT current_setting('server_version_num')::int / 10000")
_SNAPSHOT = text("SELECT pg_export_snapshot()")

_KEPT = blobs.c.state == BlobState.KEPT
_COUNT_IMAGES = select(func.count()).where(images.c.status != Status.DELETED)
_COUNT_BLOBS = select(func.count()).select_from(blobs).where(_KEPT)


async def copy_catalog(
    url: str, password_file: Path | None, folder: Path, blob_lists: Mapping[str, Path]
) -> CatalogCopy:
    """Copy the catalog into a new file in the folder. Daemons may use it meanwhile.

    ``blob_lists``: for names of stores, files to list their blobs in, each with its size.
    Raises CatalogError; BackupError if pg_dump cannot be used, or fails.
    """
    copy = _copy_postgresql if is_postgresql(url) else _copy_sqlite
    return await copy(url, password_file, folder, blob_lists)


async def _copy_sqlite(
    url: str, _: Path | None, folder: Path, blob_lists: Mapping[str, Path]
) -> CatalogCopy:
    path, copy = path_of(url), folder / SQLITE_FILE

    def make() -> CatalogCopy:
        if not has_tables(path):
            raise CatalogError(f"There is no catalog in {path} (catalog.url).")
        address = f"{path.absolute().as_uri()}?mode=rw"
        with (
            translated_errors(path),
            closing(sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)) as file,
        ):
            file.execute("VACUUM INTO ?", [str(copy)])
        engine = make_engine(copy, begin="BEGIN", connections=1)
        try:
            return run_transaction(engine, copy, partial(_describe, url, blob_lists))
        finally:
            engine.dispose()

    return await to_thread.run_sync(make)


async def _copy_postgresql(
    url: str, password_file: Path | None, folder: Path, blob_lists: Mapping[str, Path]
) -> CatalogCopy:
    from imaged.catalogs.postgresql.driver import PostgresqlDatabase
    from imaged.catalogs.postgresql.programs import dump_database

    def make(db: Connection) -> CatalogCopy:
        """Blocks the event loop: a command that makes a backup has nothing else to do."""
        for statement in _NO_TIME_LIMITS:
            db.execute(text(statement))
        copy = _describe(url, blob_lists, db)
        version = dump_database(
            url,
            password_file,
            folder / POSTGRESQL_FILE,
            snapshot=str(db.execute(_SNAPSHOT).scalar_one()),
            server_version=int(db.execute(_SERVER_VERSION).scalar_one()),
        )
        return with_changes(copy, dump_version=version)

    database = await PostgresqlDatabase.connect(url, password_file)
    try:
        return await database.read_long(make)
    finally:
        await database.close()


def _describe(url: str, blob_lists: Mapping[str, Path], db: Connection) -> CatalogCopy:
    """The facts of a catalog for the manifest; lists the blobs of stores, too."""
    revision = current_revision(db)
    if revision is None:
        raise CatalogError(f"There is no catalog in {without_password(url)} (catalog.url).")
    for store, path in blob_lists.items():
        _list_blobs(db, store, path)
    is_sqlite = db.dialect.name == "sqlite"
    return CatalogCopy(
        file=SQLITE_FILE if is_sqlite else POSTGRESQL_FILE,
        kind=db.dialect.name,
        location=without_password(url),
        revision=revision,
        catalog_id=installation.get_id(db),
        images=db.execute(_COUNT_IMAGES).scalar_one(),
        blobs=db.execute(_COUNT_BLOBS).scalar_one(),
        places=installation.list_places(db),
    )


def _list_blobs(db: Connection, store: str, path: Path) -> None:
    """Write a line for each blob that images need: size in bytes, a space, and key."""
    page = (
        select(blobs.c.size_bytes, blobs.c.key)
        .where(blobs.c.store == store, _KEPT)
        .order_by(blobs.c.key)
        .limit(LIST_ROWS)
    )
    last = ""
    with path.open("w", encoding="utf-8") as lines:
        while rows := db.execute(page.where(blobs.c.key > last)).all():
            lines.writelines(f"{row.size_bytes} {row.key}\n" for row in rows)
            last = rows[-1].key


async def restore_catalog(
    copy: CatalogCopy,
    file: Path,
    url: str,
    password_file: Path | None,
    *,
    replace_at: datetime | None,
) -> Sequence[Path]:
    """Put the copy of a catalog, a file, to the place of a URL; returns where files that were there
    are now.

    ``replace_at``: a time to name those by; None: refuse if there is a catalog. The tables of a
    PostgreSQL database are dropped instead, in the transaction that makes the new ones.
    Raises CatalogExists, CatalogInUse, CatalogError, BackupError.
    """
    if is_postgresql(url) != (copy.kind == "postgresql"):
        raise BackupError(
            f"The backup has a catalog of {copy.kind}, and catalog.url names another kind of "
            "database: restore it to a URL of its kind, and move it with `imaged migrate --from`."
        )
    if is_postgresql(url):
        await _restore_postgresql(copy, file, url, password_file, replace=replace_at is not None)
        return ()
    return await to_thread.run_sync(_restore_sqlite, file, path_of(url), replace_at)


def require_replaceable(path: Path, *, replace: bool) -> None:
    """Raise CatalogExists, CatalogInUse or CatalogUnavailable if what is there must stay."""
    if _files_of(path) and not replace:
        raise CatalogExists(
            f"There is a catalog in {path} already, or the log of one. Stop its daemons, and give "
            "--replace, which moves it aside."
        )
    if has_tables(path):
        _require_idle_file(path)


def _restore_sqlite(copy: Path, path: Path, replace_at: datetime | None) -> Sequence[Path]:
    require_replaceable(path, replace=replace_at is not None)
    new = _beside(path, ".restored")
    try:
        copy_privately(copy, new)
        give_to(new, path.parent.stat())
        flush(new)
        moved = [] if replace_at is None else _move_aside(path, replace_at)
        new.rename(path)
        flush(path.parent)
    except OSError as error:
        with suppress(OSError):
            new.unlink()  # it may have filled the disk
        raise CatalogError(f"The catalog {path} cannot be restored: {error.strerror}.") from error
    return moved


def _move_aside(path: Path, at: datetime) -> Sequence[Path]:
    """Rename a file and its logs, so that they remain one catalog."""
    aside = _beside(path, f".replaced-{backup_name(at, ())}")
    return [_beside(path, suffix).rename(_beside(aside, suffix)) for suffix in _files_of(path)]


def _files_of(path: Path) -> Sequence[str]:
    """The suffixes of SQLite's files that are there."""
    return [suffix for suffix in _SUFFIXES if _beside(path, suffix).exists()]


def _require_idle_file(path: Path) -> None:
    """Raise CatalogInUse if instances use the file or another process has locked it, and
    CatalogUnavailable if it cannot be read now.
    """
    engine = make_engine(path, begin="BEGIN", connections=1)
    try:
        run_transaction(engine, path, require_idle)
    except (CatalogInUse, CatalogUnavailable):
        raise
    except DatabaseBusy as error:
        raise CatalogInUse(
            f"Another process has locked the catalog {path}. Stop it first, and try again."
        ) from error
    except CatalogError:
        return  # it is damaged: no instance can use it
    finally:
        engine.dispose()


def copy_privately(source: Path, target: Path) -> None:
    """Copy a file to a new one that only its owner may read. Raises OSError.

    What a broken-off copy left there is removed. A link there is not followed: root copies into
    folders where another user may make one.
    """
    target.unlink(missing_ok=True)
    target.touch(0o600, exist_ok=False)
    shutil.copyfile(source, target)


def flush(path: Path) -> None:
    """Write a file, or the names in a folder, to the disk. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(f"{path.name}{suffix}")


async def _restore_postgresql(
    copy: CatalogCopy, file: Path, url: str, password_file: Path | None, *, replace: bool
) -> None:
    from imaged.catalogs.postgresql.driver import PostgresqlDatabase
    from imaged.catalogs.postgresql.programs import restore_database

    def is_there(db: Connection) -> bool:
        revision = current_revision(db)
        if revision is None:
            return False
        if not replace:
            raise CatalogExists(
                f"There is a catalog in {without_password(url)} already. Stop its daemons, and "
                "give --replace, which drops its tables."
            )
        if revision != copy.revision:
            raise CatalogExists(
                f"The catalog in {without_password(url)} has revision {revision}, and that of the "
                f"backup {copy.revision}: create an empty database instead (dropdb, createdb)."
            )
        require_idle(db)
        return True

    database = await PostgresqlDatabase.connect(url, password_file)
    try:
        has_tables = await database.read(is_there)
    finally:
        await database.close()
    version = copy.dump_version
    restore_database(url, password_file, file, dump_version=version, replace=has_tables)
