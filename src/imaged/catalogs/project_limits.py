"""The limits of projects that are set in the catalog, with defaults for the others."""

from __future__ import annotations

from imaged.core.quota import UNLIMITED, Account, Limits, limits_with_defaults


class CatalogLimits:
    """Knows the limits that ``imaged quota`` sets, because they are in each account.

    ``defaults``: of projects without them.
    """

    def __init__(self, defaults: Limits = UNLIMITED) -> None:
        self.defaults = defaults

    def limits_of(self, account: Account) -> Limits:
        """The limits of the project's own, and the defaults of the other resources."""
        return limits_with_defaults(account, self.defaults)

    async def read(self, project: str) -> None:
        """Do nothing: ``limits_of`` needs only the account."""
