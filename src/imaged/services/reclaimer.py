"""Takes back the work of holders that went silent or died.

An expired lease means that its holder is dead, or has stopped by itself. A daemon knows at once
when one of its processes has died. Every process checks, every ``claims.renew_every``; giving back
twice is refused by the claim, so any number of them may run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from functools import partial

import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.broken_upload import forget_broken
from imaged.core.claim import InstanceId, instance_of
from imaged.core.image import Image
from imaged.core.task import give_back_task
from imaged.core.uploading import give_back, unstage
from imaged.ports.catalog import Catalog
from imaged.ports.image_catalog import HeldClaim
from imaged.services.clock_guard import ClockGuard
from imaged.services.periodic import ItemBackoff, is_made, run_all_steps

log = structlog.get_logger()

RECLAIM_BATCH = 100
RECLAIM_ALL = 1_000_000  # claims of one process: more than it can have connections
DEAD_PROCESS_REASON = "The process of the server that was working on it ended unexpectedly."
SILENT_HOLDER_REASON = "The server that was working on it went silent."


@dataclass(eq=False)
class LeaseReclaimer:
    """Gives back the work of dead holders and staged data that was not imported in time; removes
    the records of old broken uploads.
    """

    catalog: Catalog
    _: KW_ONLY
    clock: ClockGuard
    lease: timedelta
    kill_uploads: bool
    staged_time_to_live: timedelta
    remember_broken: timedelta
    taken_back: int = field(default=0, init=False)  # claims, since the start of the process
    _unstaged: int = field(default=0, init=False)  # images, likewise
    _forgotten: int = field(default=0, init=False)  # broken uploads, likewise

    def __post_init__(self) -> None:
        self.postponed = ItemBackoff("reclaimer", self.catalog.check)

    async def run_due(self) -> int:
        """Give back and remove all that is due; return the number of images and tasks.

        An item that fails is postponed, and the others continue. Raises CatalogError if the catalog
        does not answer, after all that can be done.
        """
        before = self._done
        await run_all_steps(self._reclaim_lapsed, self._unstage_idle, self._forget_broken)
        return self._done - before

    async def take_back_of(self, holder: InstanceId) -> int:
        """Give back all claims of a process that has ended; return their number. No lease is waited
        for: its parent knows. A claim that fails is left to its lease. Raises CatalogError.
        """
        before = self.taken_back
        for held in await self.catalog.find_held(holder, RECLAIM_ALL):
            take_back = partial(self._take_back, held, DEAD_PROCESS_REASON)
            await self.postponed.try_item(_name_of(held), take_back)
        return self.taken_back - before

    @property
    def _done(self) -> int:
        return self.taken_back + self._unstaged + self._forgotten

    async def _reclaim_lapsed(self) -> None:
        """Give back expired claims. A clock that stepped makes living holders look dead, so it is
        checked in each round.
        """
        lapsed = await self._find_lapsed()
        while await self.clock.are_leases_current(self.lease) and lapsed:
            given_back = 0
            for claim in lapsed:
                done = await self.postponed.try_item(
                    _name_of(claim), partial(self._take_back, claim)
                )
                given_back += bool(done)
            if not given_back:  # other instances are processing them
                return
            lapsed = await self._find_lapsed()

    async def _find_lapsed(self) -> list[HeldClaim]:
        found = await self.catalog.find_lapsed(RECLAIM_BATCH + len(self.postponed))
        return [lapsed for lapsed in found if not self.postponed.is_waiting(_name_of(lapsed))]

    async def _take_back(self, lapsed: HeldClaim, why: str = SILENT_HOLDER_REASON) -> bool:
        with bound_contextvars(
            image_id=lapsed.image_id, task_id=lapsed.task_id, claim_id=str(lapsed.claim.token)
        ):
            if not await is_made(self._give_back(lapsed, why)):
                return False
            self.taken_back += 1
            log.warning("claim.taken_back", lost_by=instance_of(lapsed.claim.owner))
        return True

    async def _give_back(self, lapsed: HeldClaim, why: str) -> None:
        """Give a claim back. Raises ClaimLost if another process was faster."""
        if lapsed.task_id is not None:
            back = give_back_task(lapsed.claim, why, final=False)
            await self.catalog.modify_task(lapsed.task_id, back)
        if lapsed.image_id is not None:
            change = give_back(lapsed.claim, why, final=False, kill=self.kill_uploads)
            await self.catalog.modify_image(lapsed.image_id, change)

    async def _unstage_idle(self) -> None:
        limit = RECLAIM_BATCH + len(self.postponed)
        idle = await self.catalog.find_staged(self.staged_time_to_live, limit)
        await self._end_all(idle, self._unstage)

    async def _unstage(self, image: Image) -> bool:
        with bound_contextvars(image_id=image.id):
            is_unstaged = await is_made(self.catalog.modify_image(image.id, unstage(image)))
        self._unstaged += is_unstaged  # otherwise imported or deleted meanwhile
        return is_unstaged

    async def _forget_broken(self) -> None:
        limit = RECLAIM_BATCH + len(self.postponed)
        idle = await self.catalog.find_broken_uploads(self.remember_broken, limit)
        await self._end_all(idle, self._forget)

    async def _forget(self, image: Image) -> bool:
        with bound_contextvars(image_id=image.id):
            if not await is_made(self.catalog.modify_image(image.id, forget_broken(image))):
                return False  # uploaded or deleted meanwhile
            self._forgotten += 1
        return True

    async def _end_all(
        self, idle: Sequence[Image], end: Callable[[Image], Awaitable[bool]]
    ) -> None:
        if idle and await self.clock.is_reliable():
            for image in idle:
                await self.postponed.try_item(image.id, partial(end, image))


def _name_of(lapsed: HeldClaim) -> str:
    """The id of the claimed image or task."""
    return lapsed.task_id or lapsed.image_id or ""
