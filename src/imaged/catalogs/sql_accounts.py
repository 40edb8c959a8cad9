"""The part of the SQL catalog that keeps accounts, and runs the transactions that charge them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection

from imaged.catalogs import accounts
from imaged.catalogs.database import Database
from imaged.catalogs.project_limits import CatalogLimits
from imaged.core.quota import Account, Limits, LimitsOf, LimitsUnknown, Recount, Resource
from imaged.ports.project_limits import ProjectLimits

T = TypeVar("T")


class SqlAccounts:
    """Keeps accounts in a database. ``limits``: those that hold; default: those in the accounts."""

    def __init__(self, database: Database, limits: ProjectLimits | None = None) -> None:
        self.database = database
        self.limits: ProjectLimits = limits or CatalogLimits()

    async def set_limits(
        self, owner: str, limits: Limits, reset: Collection[Resource] = ()
    ) -> Account:
        """Set limits of a project, and remove those to ``reset``."""
        change = partial(accounts.set_limits, owner=owner, limits=limits, reset=reset)
        return await self.database.write(change)

    async def get_account(self, owner: str) -> Account:
        """Return the account of a project."""
        return await self.database.read(partial(accounts.get, owner=owner))

    async def list_accounts(self, after: str | None, limit: int) -> Sequence[Account]:
        """The accounts of the next projects, by name."""
        return await self.database.read(partial(accounts.list_page, after=after, limit=limit))

    async def recount_next(self, after: str | None) -> Recount | None:
        """Compare the account of the next project with its images."""
        return await self.database.read(partial(accounts.recount_next, after=after))

    async def correct_account(self, owner: str) -> Recount:
        """Write what the images of a project add up to into its account."""
        return await self.database.write(partial(accounts.correct, owner=owner))

    async def write_charged(
        self, transaction: Callable[[Connection, LimitsOf], T], image_id: str | None = None
    ) -> T:
        """Run one that charges accounts, again after reading limits that it needs.

        ``image_id``: of the image that it writes, if that is known.

        Raises QuotaExceeded, CatalogError, and the errors of ``transaction``.
        """

        def charged(db: Connection) -> T:
            return transaction(db, self.limits.limits_of)

        while True:
            try:
                if image_id is None:
                    return await self.database.write(charged)
                return await self.database.write_image(image_id, charged)
            except LimitsUnknown as unknown:
                await self.limits.read(unknown.project)
