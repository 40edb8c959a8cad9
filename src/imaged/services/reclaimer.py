"""Take back what went silent, whoever held it.

A lease that ran out says that its holder is dead, or has stopped by itself. Every process looks,
every ``claims.renew_every``; giving back twice is refused by the claim, so any number may.
"""

from __future__ import annotations

from datetime import timedelta

import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.errors import CatalogError, ImagedError
from imaged.core.image import Image
from imaged.core.task import give_back_task
from imaged.core.writing import give_back, unstage
from imaged.ports.catalog import Catalog, Lapsed

log = structlog.get_logger()

BATCH = 100
REASON = "The server that was working on it went silent."


class Reclaimer:
    """Gives back the work of dead holders, and staged data that nobody imported in time."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        kill_uploads: bool = False,
        staged_time_to_live: timedelta = timedelta(hours=24),
    ) -> None:
        self._catalog = catalog
        self.kill_uploads = kill_uploads
        self.staged_time_to_live = staged_time_to_live
        self.taken_back = 0  # claims, since the process began

    async def run_due(self) -> int:
        """Give back all that is due; return how many claims and staged images that were."""
        return await self._reclaim_lapsed() + await self._unstage_idle()

    async def _reclaim_lapsed(self) -> int:
        count = 0
        while lapsed := await self._catalog.find_lapsed(BATCH):
            given_back = sum([await self._take_back(claim) for claim in lapsed])
            count += given_back
            if not given_back:  # others are at it
                break
        return count

    async def _take_back(self, lapsed: Lapsed) -> bool:
        with bound_contextvars(
            image_id=lapsed.image_id, task_id=lapsed.task_id, claim_id=str(lapsed.claim.token)
        ):
            try:
                await self._give_back(lapsed)
            except CatalogError:
                raise
            except ImagedError:
                return False  # somebody else was faster
            self.taken_back += 1
            log.warning("claim.taken_back", lost_by=lapsed.claim.owner)
        return True

    async def _give_back(self, lapsed: Lapsed) -> None:
        """Raises ClaimLost where somebody else was faster."""
        if lapsed.task_id is not None:
            back = give_back_task(lapsed.claim, REASON, final=False)
            await self._catalog.modify_task(lapsed.task_id, back)
        if lapsed.image_id is not None:
            change = give_back(lapsed.claim, REASON, final=False, kill=self.kill_uploads)
            await self._catalog.modify_image(lapsed.image_id, change)

    async def _unstage_idle(self) -> int:
        count = 0
        for image in await self._catalog.find_staged(self.staged_time_to_live, BATCH):
            count += await self._unstage(image)
        return count

    async def _unstage(self, image: Image) -> bool:
        with bound_contextvars(image_id=image.id):
            try:
                await self._catalog.modify_image(image.id, unstage(image))
            except CatalogError:
                raise
            except ImagedError:
                return False  # imported or deleted meanwhile
            log.info("staging.expired")
        return True
