"""The history of the tables, and how a catalog gets to its end.

Strategy. One transaction locks the catalog, looks at its revision and takes every step that is
missing: all of it happens, or nothing. So two processes may start on a fresh file at the same
moment. Alembic is only imported when there is a step to take.

A revision is a module in ``versions/``, and its name is added to ``REVISIONS``.
"""

from __future__ import annotations

from contextlib import suppress

from sqlalchemy import Connection, inspect, text

from imaged.core.errors import CatalogError, CatalogTooNew, CatalogTooOld

REVISIONS = ("0001",)  # oldest first
WANTED = REVISIONS[-1]


def upgrade(url: str) -> str | None:
    """Migrate the catalog of this URL; it is made where it is missing. Waits for its writers.

    Returns the revision that it had before. Raises CatalogError, CatalogTooNew.
    """
    from imaged.catalogs.sqlite import path_of, prepare_once
    from imaged.catalogs.sqlite_engine import Busy

    path = path_of(url)
    while True:
        with suppress(Busy):
            return prepare_once(path)


def current_revision(db: Connection) -> str | None:
    """The revision of a catalog; None for one without any table.

    Raises CatalogError for a database that is something else.
    """
    tables = inspect(db).get_table_names()
    if "alembic_version" in tables:
        revision: str | None = db.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return revision
    if tables:
        raise CatalogError(
            "The database is no catalog: it has tables of something else. "
            "Name another one in catalog.url."
        )
    return None


def is_current(db: Connection) -> bool:
    """Whether no step is missing. Raises CatalogTooNew."""
    revision = current_revision(db)
    if revision is not None and revision not in REVISIONS:
        raise CatalogTooNew(
            f"The catalog was written by a newer version of imaged (revision {revision}; "
            f"this version knows {WANTED}). Start that version."
        )
    return revision == WANTED


def require_current(db: Connection) -> None:
    """Raise CatalogTooOld or CatalogTooNew unless the catalog is as this version wants it."""
    if not is_current(db):
        raise CatalogTooOld("The catalog has to be migrated first: run `imaged migrate`.")


def take_steps(db: Connection) -> str | None:
    """Take every step that is missing, in the transaction under way. Raises CatalogTooNew.

    Returns the revision that was there before.
    """
    before = current_revision(db)
    if not is_current(db):
        _upgrade(db)
    return before


def _upgrade(db: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": db})
    config.set_main_option("script_location", "imaged.catalogs:migrations")
    config.set_main_option("path_separator", "os")
    command.upgrade(config, WANTED)
