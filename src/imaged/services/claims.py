"""One mechanism under every long operation on an image.

    async with claims.on_image(image_id, begin_upload(location)) as work:
        content = …
        await work.finish(store_data(content))
    return work.image

Entering claims the image. Inside, one heartbeat per process renews the leases of what it really
holds, and cancels the block once its claim is lost. A block that fails gives back what it claimed;
if it cannot, the lease runs out and another process does. Giving back is one transaction and
touches no store: it only dooms the bytes.

Rule 1: a process that cannot renew cancels its own blocks before others may act. So a block's
cancel scope has a deadline, which every renewal moves on: to be silent is enough to be stopped.
Rule 2: a finish whose answer was lost may still have been heard. So when a block fails after it
asked to finish, the catalog is asked once more before anybody is told of a failure.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.claim import Claim, InstanceId
from imaged.core.errors import CatalogError, ClaimLost, ImagedError
from imaged.core.image import ClaimedChange, Image
from imaged.core.writing import give_back, require_undeleted
from imaged.ports.catalog import Catalog

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ClaimSettings:
    """How long a holder may be silent, and how often it speaks."""

    lease: timedelta = timedelta(seconds=60)
    renew_every: timedelta = timedelta(seconds=10)

    @property
    def trust(self) -> timedelta:
        """How long we believe in our last renewal: less than others wait."""
        return self.lease - self.renew_every


class Work:
    """A claimed image: only this work may change and finish it."""

    def __init__(self, catalog: Catalog, claim: Claim, image: Image) -> None:
        self._catalog = catalog
        self.claim = claim
        self.image = image
        self.asked_to_finish = False

    async def change(self, change: ClaimedChange) -> Image:
        """Change the image in the middle of the work. Raises ClaimLost."""
        self.image = await self._catalog.modify_image(
            self.image.id, lambda image: change(image, self.claim)
        )
        return self.image

    async def finish(self, change: ClaimedChange) -> Image:
        """Write the result and end the claim, in one transaction. Raises ClaimLost."""
        self.asked_to_finish = True
        return await self.change(change)


class Claims:
    """The claims of this process."""

    def __init__(
        self,
        catalog: Catalog,
        instance: InstanceId,
        settings: ClaimSettings,
        *,
        kill_uploads: bool = False,
    ) -> None:
        self._catalog = catalog
        self._instance = instance
        self._settings = settings
        self.kill_uploads = kill_uploads
        self._held: dict[Claim, anyio.CancelScope] = {}
        self._is_heard = True

    @property
    def held(self) -> int:
        """How many images this process is working on."""
        return len(self._held)

    @asynccontextmanager
    async def on_image(self, image_id: str, begin: ClaimedChange) -> AsyncIterator[Work]:
        """Claim an image for as long as the block runs.

        Raises what ``begin`` refuses, ClaimLost when the claim ended meanwhile, and ImageDeleted
        when it ended because the image was deleted.
        """
        claim = self._new_claim()
        with bound_contextvars(image_id=image_id, claim_id=str(claim.token)):
            async with self._working(image_id, claim, begin) as work:
                yield work

    @asynccontextmanager
    async def _working(
        self, image_id: str, claim: Claim, begin: ClaimedChange
    ) -> AsyncIterator[Work]:
        asked_at, work = anyio.current_time(), None
        try:
            image = await self._catalog.modify_image(image_id, lambda image: begin(image, claim))
            work = Work(self._catalog, claim, image)
            with bound_contextvars(task_id=image.task and image.task.id):
                async with self._keep_lease(claim, asked_at):
                    yield work
        except BaseException as error:
            if work is None and _was_refused(error):
                raise
            failed = isinstance(error, Exception)
            final = failed and not isinstance(error, (ClaimLost, CatalogError))
            change = give_back(claim, _reason(error), final=final, kill=self.kill_uploads)
            given_back = await self._give_back(self._catalog.modify_image(image_id, change))
            if work is None or given_back or not failed:
                raise
            if given_back is None and not work.asked_to_finish:
                raise
            if await self._was_heard(work):
                return
            if given_back is None:
                raise
            raise ClaimLost from error

    async def renew_forever(self) -> None:
        """Be the heartbeat."""
        while True:
            await self.renew()
            await anyio.sleep(self._settings.renew_every.total_seconds())

    async def renew(self) -> None:
        """Renew the leases of what is held, by list; what is not in the answer has ended."""
        asked_at, asked = anyio.current_time(), dict(self._held)
        if not asked:
            return
        try:
            with anyio.fail_after(self._settings.renew_every.total_seconds()):
                standing = await self._catalog.renew_leases(asked.keys())
        except (CatalogError, TimeoutError) as error:
            self._note_silence(error)
            return
        self._is_heard = True
        for claim, scope in asked.items():
            if claim in standing:
                scope.deadline = asked_at + self._settings.trust.total_seconds()
            else:
                scope.cancel()

    def _note_silence(self, error: Exception) -> None:
        if self._is_heard:
            log.warning("lease.renewal_failed", held=self.held, error=_sentence(error))
        self._is_heard = False

    @asynccontextmanager
    async def _keep_lease(self, claim: Claim, since: float) -> AsyncIterator[None]:
        deadline = since + self._settings.trust.total_seconds()
        with anyio.CancelScope(deadline=deadline) as scope:
            self._held[claim] = scope
            try:
                yield
            finally:
                del self._held[claim]
        if scope.cancelled_caught:
            raise ClaimLost

    async def _give_back(self, giving: Awaitable[object]) -> bool | None:
        """Whether it was still ours to give; None: nobody answered, and the lease runs out."""
        with anyio.move_on_after(self._settings.lease.total_seconds(), shield=True):
            try:
                await giving
            except ClaimLost:
                return False  # finished after all, deleted, or somebody else was faster
            except ImagedError as error:
                log.warning("claim.give_back_failed", error=_sentence(error))
            else:
                return True
        return None

    async def _was_heard(self, work: Work) -> bool:
        """Whether the work was finished, although nobody told us."""
        image = await self._catalog.get_image(work.image.id)
        if work.asked_to_finish and image.finished_by == work.claim.token:
            work.image = image
            return True
        require_undeleted(image)
        return False

    def _new_claim(self) -> Claim:
        return Claim(uuid4(), self._instance, self._settings.lease)


def _was_refused(error: BaseException) -> bool:
    """Whether it is certain that nothing was claimed."""
    return isinstance(error, ImagedError) and not isinstance(error, CatalogError)


def _reason(error: BaseException) -> str:
    """What the image's owner is told."""
    if isinstance(error, ImagedError):
        return error.for_clients
    if isinstance(error, Exception):
        return "The server made a mistake; its log says more."
    return "The server was stopped."


def _sentence(error: BaseException) -> str:
    return str(error) or type(error).__name__
