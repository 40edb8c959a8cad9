"""Images of a large catalog for the measure of lists, put straight into the database.

What share of the images has a value does not depend on how many images there are, so that
the same list of a hundred times as many images should take as long.
"""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg  # type: ignore[import-untyped]

from imaged.catalogs.connect import is_postgresql, migrate_catalog
from imaged.catalogs.sqlite.catalog_file import path_of

BEGIN = datetime(2021, 1, 1, tzinfo=UTC)
SPAN = timedelta(days=5 * 365)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
PROJECTS = tuple(f"project-{number}" for number in range(20))
BATCH = 10_000
GIB = 1 << 30

_STATUSES = {
    "active": 920,
    "queued": 30,
    "deactivated": 20,
    "deleted": 10,
    "saving": 5,
    "pending_delete": 5,
    "killed": 5,
    "importing": 3,
    "uploading": 2,
}
_VISIBILITIES = {"private": 70, "shared": 20, "public": 5, "community": 5}
_DISK_FORMATS = {"qcow2": 60, "raw": 25, "iso": 8, "vmdk": 5, "vhd": 2}
_CONTAINER_FORMATS = {"bare": 90, "ovf": 5, "docker": 5}
_ANSWERS = {"accepted": 6, "pending": 3, "rejected": 1}
_COMPLETE = frozenset({"active", "deactivated", "pending_delete", "deleted"})

IMAGE_COLUMNS = (
    *("id", "owner", "name", "disk_format", "container_format", "visibility", "protected"),
    *("hidden", "min_ram_mib", "min_disk_gib", "tags", "properties", "status", "since"),
    *("draft", "created_at", "updated_at", "version", "size_bytes", "checksum"),
    *("hash_algorithm", "hash_value", "virtual_size_bytes"),
)
TAG_COLUMNS = ("image_id", "image_created_at", "tag")
PROPERTY_COLUMNS = ("image_id", "image_created_at", "name", "value")
MEMBER_COLUMNS = (
    *("image_id", "image_created_at", "member_id", "status", "created_at", "updated_at"),
)

Row = tuple[Any, ...]
Rows = dict[str, list[Row]]
COLUMNS = {
    "images": IMAGE_COLUMNS,
    "image_tags": TAG_COLUMNS,
    "image_properties": PROPERTY_COLUMNS,
    "image_members": MEMBER_COLUMNS,
}


def rows_of_images(count: int) -> Iterator[Rows]:
    """The rows, by table, of a batch of images after another."""
    chance = random.Random(14)  # noqa: S311 - the same images each time
    numbers = iter(range(count))
    while batch := list(islice(numbers, BATCH)):
        rows: Rows = {table: [] for table in COLUMNS}
        for number in batch:
            _add_image(rows, chance, number, count)
        yield rows


def _add_image(rows: Rows, chance: random.Random, number: int, count: int) -> None:
    image_id = str(UUID(int=chance.getrandbits(128), version=4))
    created_at = BEGIN + SPAN * (number / count)
    updated_at = created_at + timedelta(seconds=chance.randint(1, 600))
    if chance.random() < 0.3:
        updated_at += (BEGIN + SPAN - created_at) * chance.random()
    status = _one(chance, _STATUSES)
    size = virtual_size = checksum = algorithm = value = None
    if status in _COMPLETE:
        size = int(chance.lognormvariate(0, 1.5) * GIB)
        virtual_size = size * chance.randint(1, 9) if chance.random() < 0.7 else None
        checksum, algorithm = f"{chance.getrandbits(128):032x}", "sha512"
        value = f"{chance.getrandbits(512):0128x}"
    has_format = status != "queued" or chance.random() < 0.5
    tags = [
        tag
        for tag, share in (("weekly", 20), ("lts", 7), ("pinned", 1000))
        if chance.random() < 1 / share
    ]
    properties = {"os_type": "linux" if chance.random() < 2 / 3 else "windows"}
    if chance.random() < 0.5:
        properties["architecture"] = "x86_64"
    if chance.random() < 1 / 1000:
        properties["hw_accelerator"] = "fpga"
    visibility = _one(chance, _VISIBILITIES)
    rows["images"].append(
        (
            image_id,
            chance.choice(PROJECTS),
            _name(chance, number),
            _one(chance, _DISK_FORMATS) if has_format else None,
            _one(chance, _CONTAINER_FORMATS) if has_format else None,
            visibility,
            chance.random() < 0.03,
            chance.random() < 0.02,
            chance.choice((0, 0, 0, 512, 1024, 2048)),
            chance.choice((0, 0, 0, 5, 10, 20)),
            json.dumps(tags),
            json.dumps(properties),
            status,
            updated_at,
            False,
            created_at,
            updated_at,
            1,
            size,
            checksum,
            algorithm,
            value,
            virtual_size,
        )
    )
    rows["image_tags"] += [(image_id, created_at, tag) for tag in tags]
    rows["image_properties"] += [(image_id, created_at, *item) for item in properties.items()]
    if visibility == "shared":
        for member in chance.sample(PROJECTS, chance.randint(1, 2)):
            answer = _one(chance, _ANSWERS)
            rows["image_members"].append(
                (image_id, created_at, member, answer, updated_at, updated_at)
            )


def _name(chance: random.Random, number: int) -> str | None:
    if chance.random() < 0.02:
        return None
    return f"release-{number % 50}" if chance.random() < 0.3 else f"image-{number}"


def _one(chance: random.Random, shares: dict[str, int]) -> str:
    return chance.choices(tuple(shares), tuple(shares.values()))[0]


async def fill(url: str, count: int) -> None:
    """Make a catalog with this many images in an empty database."""
    await migrate_catalog(url)
    if is_postgresql(url):
        await _fill_postgresql(url, count)
    else:
        _fill_sqlite(path_of(url), count)


def _fill_sqlite(path: Path, count: int) -> None:
    """Without its indexes, which are made at the end: that takes a third of the time."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for setting in ("synchronous = OFF", "cache_size = -500000", "foreign_keys = OFF"):
            db.execute(f"PRAGMA {setting}")
        names = ", ".join(f"'{table}'" for table in COLUMNS)
        indexes = db.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type IN ('index', 'trigger')"  # noqa: S608 - our own
            f" AND sql IS NOT NULL AND tbl_name IN ({names}) ORDER BY type"
        ).fetchall()
        db.execute("BEGIN")
        for name, sql in indexes:
            db.execute(f"DROP {sql.split()[1]} {name}")
        for rows in rows_of_images(count):
            for table, columns in COLUMNS.items():
                marks = ", ".join("?" * len(columns))
                statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - our own
                db.executemany(statement, map(_in_microseconds, rows[table]))
        for _, sql in indexes:
            db.execute(sql)
        db.execute("COMMIT")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _in_microseconds(row: Row) -> Sequence[Any]:
    return [
        (value - EPOCH) // MICROSECOND if isinstance(value, datetime) else value for value in row
    ]


async def _fill_postgresql(url: str, count: int) -> None:
    db = await asyncpg.connect(url)
    try:
        for rows in rows_of_images(count):
            for table, columns in COLUMNS.items():
                await db.copy_records_to_table(table, records=rows[table], columns=columns)
        await db.execute("VACUUM ANALYZE")
    finally:
        await db.close()
