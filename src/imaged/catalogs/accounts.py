"""Transactions about each project's usage and quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, bindparam, select, update

from imaged.catalogs import dialects, rows
from imaged.catalogs.tables import accounts
from imaged.core import ledger
from imaged.core.ledger import Account

_THIS = accounts.c.owner == bindparam("this")
_READ = select(accounts).where(_THIS)
_LOCK = _READ.with_for_update()
_UPDATE = update(accounts).where(_THIS)


def get(db: Connection, owner: str) -> Account:
    """Read an account; all zero if the project has no row."""
    row = db.execute(_READ, {"this": owner}).first()
    return Account(owner) if row is None else rows.account_of(row)


def set_limit(db: Connection, owner: str, limit_bytes: int | None) -> Account:
    """Set the quota of a project, in bytes."""
    account = replace(_lock(db, owner), limit_bytes=limit_bytes)
    _write(db, account)
    return account


def charge(db: Connection, charges: Mapping[str, int]) -> None:
    """Charge several owners, in the order of the mapping. Raises QuotaExceeded."""
    for owner, more_bytes in charges.items():
        _write(db, ledger.charge(_lock(db, owner), more_bytes))


def _lock(db: Connection, owner: str) -> Account:
    row = db.execute(_LOCK, {"this": owner}).first()
    if row is None:
        fresh = {"owner": owner, "used_bytes": 0, "limit_bytes": None}
        dialects.insert_or_ignore(db, accounts, fresh)
        row = db.execute(_LOCK, {"this": owner}).one()
    return rows.account_of(row)


def _write(db: Connection, account: Account) -> None:
    values = {"used_bytes": account.used_bytes, "limit_bytes": account.limit_bytes}
    db.execute(_UPDATE, {"this": account.owner, **values})
