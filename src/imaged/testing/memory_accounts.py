"""The accounts of the catalog in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from anyio.lowlevel import checkpoint

from imaged.catalogs.project_limits import CatalogLimits
from imaged.core.errors import QuotaExceeded
from imaged.core.growth import GrowingUpload, growing_upload_of, may_wait
from imaged.core.image import Image
from imaged.core.quota import (
    NO_USAGE,
    Account,
    Limits,
    Recount,
    Resource,
    charge,
    charges,
    usage_of,
    with_limits,
)


class MemoryAccounts:
    """The images, and the accounts that their changes are charged to."""

    def __init__(self) -> None:
        self.images: dict[str, Image] = {}
        self.accounts: dict[str, Account] = {}
        self.limits = CatalogLimits()

    async def set_limits(
        self, owner: str, limits: Limits, reset: Collection[Resource] = ()
    ) -> Account:
        """Set limits of a project, and remove those to ``reset``."""
        await checkpoint()
        self.accounts[owner] = with_limits(self._account(owner), limits, reset)
        return self.accounts[owner]

    async def get_account(self, owner: str) -> Account:
        """Return the account of a project."""
        await checkpoint()
        return self._account(owner)

    async def list_accounts(self, after: str | None, limit: int) -> Sequence[Account]:
        """The accounts of the next projects, by name."""
        await checkpoint()
        owners = sorted(self._after(self.accounts, after))
        return [self.accounts[owner] for owner in owners[:limit]]

    async def recount_next(self, after: str | None) -> Recount | None:
        """Compare the account of the next project with its images."""
        await checkpoint()
        owners = self.accounts.keys() | {image.owner for image in self.images.values()}
        owner = min(self._after(owners, after), default=None)
        return None if owner is None else self._recount(owner)

    async def correct_account(self, owner: str) -> Recount:
        """Write what the images of a project add up to into its account."""
        await checkpoint()
        recount = self._recount(owner)
        self.accounts[owner] = replace(recount.account, usage=recount.counted)
        return recount

    def _account(self, owner: str) -> Account:
        return self.accounts.get(owner, Account(owner))

    def _charge(self, before: Image | None, after: Image) -> None:
        """Charge all projects, or none of them. Raises QuotaExceeded."""
        charged: dict[str, Account] = {}
        for owner, more in charges(before, after).items():
            account = self._account(owner)
            try:
                charged[owner] = charge(account, more, self.limits.limits_of(account))
            except QuotaExceeded as refused:
                if mine := growing_upload_of(after):
                    refused.may_fit_later = may_wait(mine, refused.resource, self._growing(owner))
                raise
        self.accounts.update(charged)

    def _growing(self, owner: str) -> list[GrowingUpload]:
        images = [image for image in self.images.values() if image.owner == owner]
        return [upload for image in images if (upload := growing_upload_of(image))]

    def _recount(self, owner: str) -> Recount:
        counted = Counter(NO_USAGE)
        for image in self.images.values():
            if image.owner == owner:
                counted.update(usage_of(image))
        return Recount(self._account(owner), dict(counted))

    @staticmethod
    def _after(owners: Collection[str], after: str | None) -> list[str]:
        return [owner for owner in owners if after is None or owner > after]
