"""Transactions about the checksums of a blob's blocks. They are removed with the blob's row."""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, delete, insert, select

from imaged.catalogs import blobs
from imaged.catalogs.tables import block_checksums
from imaged.core.blob import BlobState
from imaged.core.integrity import pages_of

_INSERT = insert(block_checksums)
_REMOVE = delete(block_checksums).where(block_checksums.c.key == bindparam("this"))
_READ = select(block_checksums.c.checksums).where(
    block_checksums.c.key == bindparam("this"), block_checksums.c.page == bindparam("number")
)


def get(db: Connection, key: str, page: int) -> bytes | None:
    """Read one page, if it exists."""
    checksums: bytes | None = db.execute(_READ, {"this": key, "number": page}).scalar()
    return checksums


def add(db: Connection, key: str, checksums: bytes) -> None:
    """Insert those of a blob that has none. The blob's row is locked."""
    pages = pages_of(checksums)
    db.execute(_INSERT, [{"key": key, "page": page, "checksums": part} for page, part in pages])


def replace(db: Connection, key: str, checksums: bytes) -> None:
    """Replace the existing ones if the blob is complete and referenced."""
    known = blobs.lock(db, [key]).get(key)
    if known is None or known.state is not BlobState.KEPT:
        return
    db.execute(_REMOVE, {"this": key})
    if checksums:
        add(db, key, checksums)
