"""Transactions about the usage of each project, and the limits of its own."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    bindparam,
    case,
    func,
    select,
    update,
)

from imaged.catalogs import dialects
from imaged.catalogs.account_tables import RESOURCE_COLUMNS, UNLIMITED_NUMBER, accounts
from imaged.catalogs.prepared import PreparedSelect, PreparedWrite
from imaged.catalogs.rows import AnyRow, Values
from imaged.catalogs.tables import STAGED, blobs, claims, image_locations, images
from imaged.core import quota
from imaged.core.blob import BlobState
from imaged.core.growth import GrowingUpload
from imaged.core.lifecycle import FAILURE_EVENTS, GONE, Status
from imaged.core.quota import UNLIMITED, Account, Limits, LimitsOf, Recount, Resource, Usage

_THIS = accounts.c.owner == bindparam("this")
_AFTER: BindParameter[str] = bindparam("after")
_READ = select(accounts).where(_THIS)
_LOCK = PreparedSelect(_READ.with_for_update())
_UPDATE = PreparedWrite(update(accounts).where(_THIS))
_FIRST_PAGE = select(accounts).order_by(accounts.c.owner).limit(bindparam("most", type_=Integer))
_NEXT_PAGE = _FIRST_PAGE.where(accounts.c.owner > _AFTER)

#: Each is one lookup in an index, also among a million images.
_FIRST_OWNERS = [select(func.min(table.c.owner)) for table in (accounts, images)]
_NEXT_OWNERS = [
    select(func.min(table.c.owner)).where(table.c.owner > _AFTER) for table in (accounts, images)
]


def _one_if(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return case((condition, 1), else_=0)


def _has_status(statuses: Collection[Status]) -> ColumnElement[bool]:
    return images.c.status.in_(sorted(status.value for status in statuses))


def _bytes_where(condition: ColumnElement[bool]) -> ColumnElement[int]:
    return func.coalesce(func.sum(case((condition, blobs.c.size_bytes), else_=0)), 0)


_IS_STAGED = image_locations.c.position == STAGED
_STAGED, _STORED = _bytes_where(_IS_STAGED), _bytes_where(~_IS_STAGED)
_IS_EXPIRED = (images.c.status == Status.PENDING_DELETE.value) & images.c.deleted_from.is_(None)
#: What each image of a project counts for: ``quota.usage_of`` in SQL.
_USAGES = (
    select(
        case((_IS_EXPIRED, 0), (_STAGED > _STORED, _STAGED), else_=_STORED).label(Resource.TOTAL),
        _STAGED.label(Resource.STAGED),
        _one_if(~_has_status(GONE)).label(Resource.IMAGES),
        _one_if(_has_status(FAILURE_EVENTS)).label(Resource.UPLOADS),
    )
    .outerjoin_from(images, image_locations, image_locations.c.image_id == images.c.id)
    .outerjoin(blobs, blobs.c.key == image_locations.c.key)
    .where(images.c.owner == bindparam("this"))
    .group_by(images.c.id)
    .subquery("usages")
)
#: Of all projects, because claims are few. The outer joins make SQLite begin with them, and not
#: with the images of the project, or with all locations, of which there may be a million.
_GROWING = (
    select(
        images.c.id,
        images.c.owner,
        images.c.since,
        images.c.status,
        claims.c.ahead_bytes,
        blobs.c.size_bytes,
    )
    .outerjoin_from(claims, images, images.c.id == claims.c.image_id)
    .outerjoin(image_locations, image_locations.c.image_id == claims.c.image_id)
    .outerjoin(
        blobs,
        (blobs.c.key == image_locations.c.key) & (blobs.c.state == BlobState.WRITING.value),
    )
    .where(claims.c.ahead_bytes.is_not(None))
)
_COUNT = select(*(func.coalesce(func.sum(_USAGES.c[name]), 0) for name in Resource))


def get(db: Connection, owner: str) -> Account:
    """Read an account; without usage and limits if the project has no row."""
    row = db.execute(_READ, {"this": owner}).first()
    return Account(owner) if row is None else _account_of(row)


def list_page(db: Connection, after: str | None, limit: int) -> Sequence[Account]:
    """Read the accounts of the next projects, by name."""
    page = _FIRST_PAGE if after is None else _NEXT_PAGE
    return [_account_of(row) for row in db.execute(page, {"after": after, "most": limit})]


def set_limits(
    db: Connection, owner: str, limits: Limits, reset: Collection[Resource] = ()
) -> Account:
    """Set limits of a project, and remove those to ``reset``."""
    account = quota.with_limits(_lock(db, owner), limits, reset)
    _write(db, account)
    return account


def charge(db: Connection, charges: Mapping[str, Usage], limits_of: LimitsOf) -> None:
    """Charge several projects, in the order of the mapping. Raises QuotaExceeded, LimitsUnknown."""
    for owner, more in charges.items():
        account = _lock(db, owner)
        limits = limits_of(account) if quota.grows(more) else UNLIMITED
        _write(db, quota.charge(account, more, limits))


def growing_uploads(db: Connection, owner: str) -> Sequence[GrowingUpload]:
    """Read the uploads of unknown length that a project has now.

    Called under the lock of the account: what they hold is part of its usage.
    """
    return [
        GrowingUpload(
            (row.since, row.id), row.size_bytes, row.ahead_bytes, row.status == Status.UPLOADING
        )
        for row in db.execute(_GROWING)
        if row.owner == owner and row.size_bytes is not None
    ]


def recount_next(db: Connection, after: str | None) -> Recount | None:
    """Compare the account of the next project with its images, in the state that ``db`` shows."""
    statements = _FIRST_OWNERS if after is None else _NEXT_OWNERS
    found = [db.execute(statement, {"after": after}).scalar() for statement in statements]
    owners = [owner for owner in found if owner is not None]
    return _recount(db, get(db, min(owners))) if owners else None


def correct(db: Connection, owner: str) -> Recount:
    """Write what the images of a project add up to into its account; returns it before that.

    Every other change of these images waits for the lock of the account, or is committed already.
    """
    recount = _recount(db, _lock(db, owner))
    if recount.is_wrong:
        _write(db, Account(owner, recount.counted, recount.account.limits))
    return recount


def _recount(db: Connection, account: Account) -> Recount:
    counts = db.execute(_COUNT, {"this": account.owner}).one()
    return Recount(
        account, {name: int(count) for name, count in zip(Resource, counts, strict=True)}
    )


def _lock(db: Connection, owner: str) -> Account:
    found = _LOCK.named_rows(db, {"this": owner})
    if not found:
        dialects.insert_or_ignore(db, accounts, {"owner": owner, **_values_of(Account(owner))})
        found = _LOCK.named_rows(db, {"this": owner})
    return _account_of(found[0])


def _write(db: Connection, account: Account) -> None:
    _UPDATE.execute(db, {"this": account.owner, **_values_of(account)})


def _account_of(row: AnyRow) -> Account:
    usage: dict[Resource, int] = {}
    limits: dict[Resource, int | None] = {}
    for name, columns in RESOURCE_COLUMNS.items():
        usage[name] = getattr(row, columns.usage)
        limit = getattr(row, columns.limit)
        if limit is not None:
            limits[name] = None if limit == UNLIMITED_NUMBER else limit
    return Account(row.owner, usage, limits)


def _values_of(account: Account) -> Values:
    """The columns of the account's row, by name."""
    values: dict[str, Any] = {}
    for name, columns in RESOURCE_COLUMNS.items():
        values[columns.usage] = account.usage[name]
        values[columns.limit] = _limit_value(account.limits, name)
    return values


def _limit_value(limits: Limits, name: Resource) -> int | None:
    if name not in limits:
        return None
    limit = limits[name]
    return UNLIMITED_NUMBER if limit is None else limit
