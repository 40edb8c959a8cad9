"""Compares the accounts of projects with their images, as a periodic job.

Every change of an image changes its account in the same transaction, so both agree. What differs
was written beside that: by an older version during an upgrade, which counts fewer resources, or by
hand.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from imaged.core.quota import Recount
from imaged.ports.image_catalog import AccountCatalog

log = structlog.get_logger()


class AccountReconciler:
    """Counts the images of all projects."""

    def __init__(self, catalog: AccountCatalog) -> None:
        self._catalog = catalog

    async def run_due(self) -> Sequence[Recount]:
        """Compare all accounts, and correct those that are wrong. Raises CatalogError."""
        return await self.run(apply=True)

    async def run(self, *, apply: bool) -> Sequence[Recount]:
        """Compare all accounts; return those that are wrong, and with ``apply`` correct them.

        Raises CatalogError.
        """
        wrong: list[Recount] = []
        project: str | None = None
        while (recount := await self._catalog.recount_next(project)) is not None:
            project = recount.account.owner
            if recount.is_wrong and apply:
                recount = await self._catalog.correct_account(project)
            if recount.is_wrong:
                wrong.append(recount)
                _tell(recount, corrected=apply)
        return wrong


def _tell(recount: Recount, *, corrected: bool) -> None:
    log.warning(
        "account.wrong",
        project_id=recount.account.owner,
        usage=dict(recount.account.usage),
        counted=dict(recount.counted),
        corrected=corrected,
    )
