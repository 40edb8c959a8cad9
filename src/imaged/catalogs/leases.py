"""Transactions about claims and their leases: the last locks of every transaction.

The claim of an image is a row of ``claims``; that of a task that writes no image is in the task's
row.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Connection,
    Integer,
    Select,
    Update,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from imaged.catalogs import dialects, rows
from imaged.catalogs.dialects import Instant, minus_duration
from imaged.catalogs.prepared import PreparedWrite
from imaged.catalogs.tables import claims
from imaged.catalogs.task_tables import tasks
from imaged.core.claim import Claim, InstanceId
from imaged.core.clock import CLOCK_TOLERANCE
from imaged.core.image import Image
from imaged.ports.image_catalog import HeldClaim

_THESE: BindParameter[UUID] = bindparam("these", expanding=True)
_THEN: BindParameter[datetime] = bindparam("until_then")
_MOST = bindparam("most", type_=Integer)
_LATEST = bindparam("latest", type_=Instant)

_READ = select(claims).where(claims.c.token.in_(_THESE)).order_by(claims.c.token)
_PROLONG = update(claims).where(claims.c.token == bindparam("this")).values(until=_THEN)
_INSERT = PreparedWrite(insert(claims))
_SET_AHEAD = PreparedWrite(
    update(claims)
    .where(claims.c.token == bindparam("this"))
    .values(ahead_bytes=bindparam("ahead", type_=BigInteger))
)
_DELETE = PreparedWrite(delete(claims).where(claims.c.token == bindparam("this")))
_LAPSED = (
    select(claims)
    .where(claims.c.until <= bindparam("now"))
    .order_by(claims.c.until, claims.c.token)
    .limit(_MOST)
)
#: Further ahead than their lease explains: written by a clock that has gone back since.
_AHEAD = (
    select(claims)
    .where(
        claims.c.until > bindparam("now"), minus_duration(claims.c.until, claims.c.lease) > _LATEST
    )
    .order_by(claims.c.until, claims.c.token)
    .limit(_MOST)
)
_AHEAD_TASKS = (
    select(tasks.c.id, tasks.c.token, tasks.c.holder, tasks.c.lease, tasks.c.until)
    .where(
        tasks.c.until.is_not(None),
        tasks.c.until > bindparam("now"),
        minus_duration(tasks.c.until, tasks.c.lease) > _LATEST,
    )
    .order_by(tasks.c.until, tasks.c.token)
    .limit(_MOST)
)
_READ_TASKS = (
    select(tasks.c.token, tasks.c.holder, tasks.c.lease)
    .where(tasks.c.token.is_not(None), tasks.c.token.in_(_THESE))
    .order_by(tasks.c.token)
)
_PROLONG_TASK = (
    update(tasks)
    .where(tasks.c.token.is_not(None), tasks.c.token == bindparam("this"))
    .values(until=_THEN)
)
_LAPSED_TASKS = (
    select(tasks.c.id, tasks.c.token, tasks.c.holder, tasks.c.lease, tasks.c.until)
    .where(tasks.c.until.is_not(None), tasks.c.until <= bindparam("now"))
    .order_by(tasks.c.until, tasks.c.token)
    .limit(_MOST)
)
#: The table has only the claims of work in progress, so it is read as a whole.
_HELD = (
    select(claims)
    .where(claims.c.holder == bindparam("holder"))
    .order_by(claims.c.token)
    .limit(_MOST)
)
_HELD_TASKS = (
    select(tasks.c.id, tasks.c.token, tasks.c.holder, tasks.c.lease)
    .where(tasks.c.token.is_not(None), tasks.c.holder == bindparam("holder"))
    .order_by(tasks.c.token)
    .limit(_MOST)
)
_ATTEMPTS = select(claims.c.token).union_all(
    select(tasks.c.token).where(tasks.c.token.is_not(None))
)


def move(db: Connection, before: Image, after: Image, now: datetime) -> None:
    """Write the claim of an image, and what it has reserved ahead, if that has changed."""
    if after.claim == before.claim:
        if after.claim is not None and after.ahead_bytes != before.ahead_bytes:
            _SET_AHEAD.execute(db, {"this": after.claim.token, "ahead": after.ahead_bytes})
        return
    if before.claim is not None:
        _DELETE.execute(db, {"this": before.claim.token})
    if (claim := after.claim) is not None:
        values = {
            "token": claim.token,
            "image_id": after.id,
            "holder": claim.owner,
            "lease": claim.lease,
            "until": now + claim.lease,
            "ahead_bytes": after.ahead_bytes,
        }
        _INSERT.execute(db, values)


def renew(db: Connection, held: Collection[Claim]) -> Collection[Claim]:
    """Renew the leases of these claims; returns the claims that still exist."""
    these = [claim.token for claim in held]
    standing = _renew(db, _READ, _PROLONG, these, held)
    if len(standing) < len(held):
        standing |= _renew(db, _READ_TASKS, _PROLONG_TASK, these, held)
    return standing


def find_lapsed(db: Connection, limit: int) -> Sequence[HeldClaim]:
    """Read the claims whose leases expired, the longest first; then those dated too far ahead.

    Those that expired in the same instant come in the order of their tokens.
    """
    now = dialects.now(db)
    over = {"now": now, "most": limit}
    ahead = {**over, "latest": now + CLOCK_TOLERANCE}
    found = [
        (row.until, HeldClaim(rows.claim_of(row), row.image_id))
        for row in (*db.execute(_LAPSED, over), *db.execute(_AHEAD, ahead))
    ]
    found += [
        (row.until, HeldClaim(rows.claim_of(row), None, row.id))
        for row in (*db.execute(_LAPSED_TASKS, over), *db.execute(_AHEAD_TASKS, ahead))
    ]
    found.sort(key=lambda pair: (pair[0], pair[1].claim.token))
    return [lapsed for _, lapsed in found[:limit]]


def find_held(db: Connection, holder: InstanceId, limit: int) -> Sequence[HeldClaim]:
    """Read the claims of one holder, in the order of their tokens."""
    these = {"holder": holder, "most": limit}
    found = [HeldClaim(rows.claim_of(row), row.image_id) for row in db.execute(_HELD, these)]
    found += [HeldClaim(rows.claim_of(row), None, row.id) for row in db.execute(_HELD_TASKS, these)]
    return sorted(found, key=lambda held: held.claim.token)[:limit]


def list_attempts(db: Connection) -> Collection[UUID]:
    """Read the tokens of all claims."""
    return set(db.execute(_ATTEMPTS).scalars())


def _renew(
    db: Connection,
    read: Select[*tuple[Any, ...]],
    prolong: Update,
    these: Sequence[UUID],
    held: Collection[Claim],
) -> set[Claim]:
    """Renew those whose rows are not locked. Waiting for the others could lose all of them."""
    free = _found(db, read.with_for_update(skip_locked=True), these, held)
    now = dialects.now(db)
    if free:
        until = [{"this": claim.token, "until_then": now + claim.lease} for claim in free]
        db.execute(prolong, until)
    return free if len(free) == len(held) else _found(db, read, these, held)


def _found(
    db: Connection,
    read: Select[*tuple[Any, ...]],
    these: Sequence[UUID],
    held: Collection[Claim],
) -> set[Claim]:
    return {rows.claim_of(row) for row in db.execute(read, {"these": these})} & set(held)
