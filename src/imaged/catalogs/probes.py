"""The transactions that test whether a database works."""

from __future__ import annotations

from secrets import token_hex
from uuid import uuid4

from sqlalchemy import Connection, insert, select

from imaged.catalogs import dialects
from imaged.catalogs.tables import instances, tombstones

#: The largest size of a record with all of its properties.
PROBE_BYTES = 256 * 1024


def probe(db: Connection) -> None:
    """The smallest transaction that needs the tables."""
    db.execute(select(tombstones.c.id).limit(1)).first()


def write_and_roll_back(db: Connection) -> None:
    """Need as much space as a large record does, and leave nothing."""
    now = dialects.now(db)
    trial = {
        "id": f"trial-{uuid4()}",
        "version": token_hex(PROBE_BYTES // 2),  # incompressible
        "roles": [],
        "started_at": now,
        "seen_at": now,
    }
    db.execute(insert(instances), trial)
    db.rollback()
