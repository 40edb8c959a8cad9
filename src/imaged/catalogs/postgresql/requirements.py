"""What a PostgreSQL server and its database must be like to have a catalog."""

from __future__ import annotations

from sqlalchemy import Connection, text

from imaged.catalogs import migrations
from imaged.core.errors import CatalogError

MIN_SERVER_VERSION = 13


def require_usable(db: Connection) -> None:
    """Raises CatalogError, CatalogTooOld, CatalogTooNew."""
    require_server(db)
    migrations.require_current(db)


def require_server(db: Connection) -> None:
    """Raises CatalogError for a server, or an encoding, that a catalog cannot have."""
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
