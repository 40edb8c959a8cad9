"""What a PostgreSQL server must be, so that a catalog can be in it."""

from __future__ import annotations

from sqlalchemy import Connection, text

from imaged.catalogs import migrations
from imaged.catalogs.database import probe
from imaged.core.errors import CatalogError

MIN_SERVER_VERSION = 13

_IS_READ_ONLY = text("""
    SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'
""")


def require_usable(db: Connection) -> None:
    """Raise CatalogError unless the server and the catalog can be used."""
    require_server(db)
    migrations.require_current(db)


def require_server(db: Connection) -> None:
    """Raise CatalogError unless the server is new enough, and its database has UTF-8."""
    said = db.execute(text("SELECT current_setting('server_version_num')::int / 10000")).scalar()
    if said is None or said < MIN_SERVER_VERSION:
        raise CatalogError(
            f"PostgreSQL {said} is too old for the catalog: it needs {MIN_SERVER_VERSION} or newer."
        )
    encoding = db.execute(text("SHOW server_encoding")).scalar()
    if encoding != "UTF8":
        raise CatalogError(
            f"The catalog's database has the encoding {encoding}; create it with ENCODING 'UTF8'."
        )


def is_read_only(db: Connection) -> bool:
    """Whether the server answers, and refuses to write."""
    probe(db)
    return bool(db.execute(_IS_READ_ONLY).scalar())
