"""What a project uses and may use, for itself and for operators."""

from __future__ import annotations

from imaged.core.quota import Account, Limits, LimitsUnknown
from imaged.ports.image_catalog import AccountCatalog
from imaged.ports.project_limits import ProjectLimits


class ProjectUsage:
    """Reads accounts, with the limits that hold for them."""

    def __init__(self, catalog: AccountCatalog, limits: ProjectLimits) -> None:
        self._catalog = catalog
        self._limits = limits

    async def read(self, project: str) -> tuple[Account, Limits]:
        """The account of a project, and its limits. Raises CatalogError."""
        account = await self._catalog.get_account(project)
        return account, await self.limits_of(account)

    async def limits_of(self, account: Account) -> Limits:
        """The limits that hold for an account, of every resource."""
        while True:
            try:
                return self._limits.limits_of(account)
            except LimitsUnknown as unknown:
                await self._limits.read(unknown.project)
