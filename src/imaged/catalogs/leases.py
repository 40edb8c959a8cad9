"""Transactions about claims and their leases: the last locks of every transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from sqlalchemy import Connection, Integer, bindparam, delete, insert, select, update

from imaged.catalogs import dialects, rows
from imaged.catalogs.tables import claims
from imaged.core.claim import Claim
from imaged.core.image import Image
from imaged.ports.catalog import Lapsed

_LOCK = (
    select(claims)
    .where(claims.c.token.in_(bindparam("these", expanding=True)))
    .order_by(claims.c.token)
    .with_for_update()
)
_PROLONG = (
    update(claims).where(claims.c.token == bindparam("this")).values(until=bindparam("until_then"))
)
_INSERT = insert(claims)
_DELETE = delete(claims).where(claims.c.token == bindparam("this"))
_LAPSED = (
    select(claims)
    .where(claims.c.until <= bindparam("now"))
    .order_by(claims.c.until)
    .limit(bindparam("most", type_=Integer))
)


def move(db: Connection, before: Image, after: Image, now: datetime) -> None:
    """Write the claim of an image, if it is another one."""
    if after.claim == before.claim:
        return
    if before.claim is not None:
        db.execute(_DELETE, {"this": before.claim.token})
    if (claim := after.claim) is not None:
        values = {
            "token": claim.token,
            "image_id": after.id,
            "holder": claim.owner,
            "lease": claim.lease,
            "until": now + claim.lease,
        }
        db.execute(_INSERT, values)


def renew(db: Connection, held: Collection[Claim]) -> Collection[Claim]:
    """Prolong the leases of these claims, and return those that still stand."""
    found = db.execute(_LOCK, {"these": [claim.token for claim in held]})
    standing = {rows.claim_of(row) for row in found} & set(held)
    now = dialects.now(db)
    if standing:
        until = [{"this": claim.token, "until_then": now + claim.lease} for claim in standing]
        db.execute(_PROLONG, until)
    return standing


def find_lapsed(db: Connection, limit: int) -> Sequence[Lapsed]:
    """Read the claims whose leases ran out, the longest first."""
    found = db.execute(_LAPSED, {"now": dialects.now(db), "most": limit})
    return [Lapsed(rows.claim_of(row), row.image_id) for row in found]
