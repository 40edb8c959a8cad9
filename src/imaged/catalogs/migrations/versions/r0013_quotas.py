"""Adds the usage and the limits of staged bytes, images and uploads to the accounts.

Versions before it go on working: they keep counting bytes. What they change of the new numbers is
corrected when a newer version counts again (``services/account_reconciler.py``).
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, CheckConstraint, Column, text

revision = "0013"
down_revision = "0012"

#: Only accounts of projects whose images never had data were missing.
ADD_MISSING = """
INSERT INTO accounts (owner, used_bytes)
SELECT DISTINCT owner, 0 FROM images
WHERE NOT EXISTS (SELECT 1 FROM accounts WHERE accounts.owner = images.owner)
"""
COUNT = """
UPDATE accounts SET
staged_bytes = (
    SELECT coalesce(sum(blobs.size_bytes), 0)
    FROM images
    JOIN image_locations ON image_locations.image_id = images.id
    JOIN blobs ON blobs.key = image_locations.key
    WHERE images.owner = accounts.owner AND image_locations.position = -1
),
image_count = (
    SELECT count(*) FROM images
    WHERE images.owner = accounts.owner AND status NOT IN ('pending_delete', 'deleted')
),
upload_count = (
    SELECT count(*) FROM images
    WHERE images.owner = accounts.owner AND status IN ('saving', 'uploading', 'importing')
)
"""


def upgrade() -> None:
    """Add the columns, and fill them from the images."""
    for name in ("staged_bytes", "image_count", "upload_count"):
        check = CheckConstraint(f"{name} >= 0", name=f"{name}_possible")
        column = Column(name, BigInteger, check, nullable=False, server_default=text("0"))
        op.add_column("accounts", column)
    for name in ("staged_limit_bytes", "image_limit", "upload_limit"):
        check = CheckConstraint(f"{name} IS NULL OR {name} >= 0", name=f"{name}_possible")
        op.add_column("accounts", Column(name, BigInteger, check))
    op.execute(ADD_MISSING)
    op.execute(COUNT)
