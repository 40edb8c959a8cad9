"""The tables of the installation: its processes, its clock, its identity and its places.

``tables.py`` shows how the tables belong together.
"""

from __future__ import annotations

from sqlalchemy import JSON, Boolean, Column, Integer, Table, Uuid, text

from imaged.catalogs.dialects import TEXT, Duration, Instant, metadata

instances = Table(
    "instances",
    metadata,
    Column("id", TEXT, primary_key=True),
    Column("version", TEXT, nullable=False),
    Column("roles", JSON, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("troubles", JSON, nullable=False, server_default=text("'[]'")),
    Column("report", JSON, nullable=False, server_default=text("'{}'")),  # an InstanceReport
)

#: One row: the last time that an instance trusted, for the next start (``core/clock.py``).
clock = Table(
    "clock",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
    Column("boot_id", TEXT, nullable=False),
    Column("uptime", Duration, nullable=False),
    Column("step", Duration, nullable=False),
    Column("held_until", Duration),
    Column("confirmations", Integer, nullable=False),
)

#: One row: versions that know this revision of the tables, or a later one, work with them.
compatibility = Table("compatibility", metadata, Column("oldest", TEXT, primary_key=True))

#: One row: created with the tables, and the same in every copy of the catalog.
catalog_identity = Table("catalog_identity", metadata, Column("id", Uuid, primary_key=True))

#: Folders and buckets with the catalog's marker.
places = Table(
    "places",
    metadata,
    Column("kind", TEXT, primary_key=True),
    Column("name", TEXT, primary_key=True),
    Column("place_id", Uuid, nullable=False),
    Column("location", TEXT, nullable=False),
    Column("is_marked", Boolean, nullable=False),
    Column("warning", TEXT),
)
