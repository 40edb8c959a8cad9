"""The table of accounts: the usage of each project, and the limits of its own.

``tables.py`` shows how the tables belong together.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import BigInteger, CheckConstraint, Column, Table, text

from imaged.catalogs.dialects import TEXT, metadata
from imaged.core.quota import Resource

#: What the limit of a project without one is in the database. Versions that know no defaults
#: compare with it as well.
UNLIMITED_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class ResourceColumns:
    """The names of the columns of a resource. A limit that is null is the default."""

    usage: str
    limit: str


RESOURCE_COLUMNS: Mapping[Resource, ResourceColumns] = {
    Resource.TOTAL: ResourceColumns("used_bytes", "limit_bytes"),
    Resource.STAGED: ResourceColumns("staged_bytes", "staged_limit_bytes"),
    Resource.IMAGES: ResourceColumns("image_count", "image_limit"),
    Resource.UPLOADS: ResourceColumns("upload_count", "upload_limit"),
}


def _usage_column(name: str) -> Column[int]:
    check = CheckConstraint(f"{name} >= 0", name=f"{name}_possible")
    return Column(name, BigInteger, check, nullable=False, server_default=text("0"))


def _limit_column(name: str) -> Column[int]:
    check = CheckConstraint(f"{name} IS NULL OR {name} >= 0", name=f"{name}_possible")
    return Column(name, BigInteger, check)


accounts = Table(
    "accounts",
    metadata,
    Column("owner", TEXT, primary_key=True),
    Column("used_bytes", BigInteger, nullable=False),
    Column("limit_bytes", BigInteger),
    *(_usage_column(name) for name in ("staged_bytes", "image_count", "upload_count")),
    *(_limit_column(name) for name in ("staged_limit_bytes", "image_limit", "upload_limit")),
    CheckConstraint("used_bytes >= 0", name="used_possible"),
    CheckConstraint("limit_bytes IS NULL OR limit_bytes >= 0", name="limit_possible"),
)
