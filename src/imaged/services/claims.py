"""Claims on images, and on tasks that write none, for every long operation.

    async with claims.on_image(image_id, begin_upload(location)) as work:
        content = …
        await work.finish(store_data(content))
    return work.image

Entering claims the record. Inside, one heartbeat per process renews the leases of its claims, and
cancels a block whose claim is lost. Calls to an unavailable catalog are retried until the lease
expires. A block that fails gives its claim back; if it cannot, the lease expires and another
process does. Giving back is one transaction and touches no store: it only dooms the bytes.

Rule 1: a process that cannot renew cancels its own blocks before others may act. So a block's
cancel scope has a deadline, which every renewal extends: without renewals the block is stopped.
Rule 2: a finish whose answer was lost may have been committed. So if a block fails after its call
to finish, the catalog is asked once more before a failure is reported.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from functools import partial
from uuid import uuid4

import anyio
import structlog
from structlog.contextvars import bound_contextvars

from imaged.core.claim import Claim, InstanceId, instance_of
from imaged.core.errors import CatalogError, ClaimLost, ImagedError, TaskStalled
from imaged.core.image import ClaimedChange
from imaged.core.task import claim_task
from imaged.ports.catalog import Catalog
from imaged.services.claimed import ClaimedImage, ClaimedTask, retry_until_available
from imaged.services.periodic import Problem

log = structlog.get_logger()

CATALOG_SILENT = "The catalog does not answer in time."

#: After these errors, another attempt may succeed.
RETRYABLE_ATTEMPT_ERRORS = (ClaimLost, CatalogError, TaskStalled)


@dataclass(frozen=True, slots=True)
class ClaimSettings:
    """The duration of a lease, and the interval of its renewal."""

    lease: timedelta
    renew_every: timedelta

    @property
    def trust(self) -> timedelta:
        """How long this process relies on its last renewal: shorter than others wait."""
        return self.lease - self.renew_every


@dataclass(eq=False)
class Claims:
    """The claims of this process. ``instance``: their holder, which may be one process of it."""

    catalog: Catalog
    instance: InstanceId
    settings: ClaimSettings
    _: KW_ONLY
    kill_uploads: bool = False
    _held: dict[Claim, anyio.CancelScope] = field(default_factory=dict, init=False)
    _silence: Problem = field(default_factory=Problem, init=False)

    @property
    def held(self) -> int:
        """The number of images and tasks that this process is working on."""
        return len(self._held)

    @asynccontextmanager
    async def on_image(self, image_id: str, begin: ClaimedChange) -> AsyncIterator[ClaimedImage]:
        """Claim an image while the block runs.

        Raises the refusals of ``begin``, ClaimLost if the claim ends meanwhile, and ImageDeleted if
        it ended because the image was deleted.
        """
        work = ClaimedImage(self.catalog, self._new_claim(), image_id)
        with bound_contextvars(image_id=image_id):
            async with self._holding(work, lambda: work.begin(begin)):
                yield work

    @asynccontextmanager
    async def on_task(self, task_id: str) -> AsyncIterator[ClaimedTask]:
        """Claim a task that writes no image while the block runs.

        Raises TaskNotFound, InvalidTransition if it is not waiting for a worker, and ClaimLost.
        """
        work = ClaimedTask(self.catalog, self._new_claim(), task_id)
        with bound_contextvars(task_id=task_id):
            async with self._holding(work, lambda: work.begin(claim_task)):
                yield work

    async def renew_forever(self) -> None:
        """Renew all leases periodically, until cancelled: at once after a call that took as long as
        the period.
        """
        while True:
            next_at = anyio.current_time() + self.settings.renew_every.total_seconds()
            await self.renew()
            await anyio.sleep_until(next_at)

    async def renew(self) -> None:
        """Renew the leases of all claims in one call; a claim missing from the answer has ended."""
        asked_at, asked = anyio.current_time(), dict(self._held)
        if not asked:
            return
        try:
            with anyio.fail_after(self.settings.renew_every.total_seconds()):
                standing = await self.catalog.renew_leases(asked.keys())
        except CatalogError as error:
            if self._silence.set(CATALOG_SILENT):
                log.debug("lease.renewal_failed", held=self.held, error=str(error))
            return
        except TimeoutError:  # no outage yet: the catalog may only be slow
            if self._silence.set(CATALOG_SILENT):
                log.warning("lease.renewal_failed", held=self.held, error=CATALOG_SILENT)
            return
        self._silence.set("")
        for claim, scope in asked.items():
            if claim in standing:
                scope.deadline = asked_at + self.settings.trust.total_seconds()
            else:
                scope.cancel()

    @asynccontextmanager
    async def _holding(
        self, work: ClaimedImage | ClaimedTask, begin: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[None]:
        instance = instance_of(self.instance)
        with bound_contextvars(claim_id=str(work.claim.token), instance=instance):
            async with self._working(work, begin):
                yield

    @asynccontextmanager
    async def _working(
        self, work: ClaimedImage | ClaimedTask, begin: Callable[[], Awaitable[object]]
    ) -> AsyncIterator[None]:
        asked_at = anyio.current_time()
        try:
            await begin()
            asked_at = await self._renewed_if_late(work.claim, asked_at)
            async with self._keep_lease(work.claim, asked_at):
                yield
        except BaseException as error:
            if not work.has_begun and _was_refused(error):
                raise
            failed = isinstance(error, Exception)
            final = failed and not isinstance(error, RETRYABLE_ATTEMPT_ERRORS)
            give_back = partial(
                work.give_back, _reason(error), final=final, counts=failed, kill=self.kill_uploads
            )
            waits = work.has_begun and not isinstance(error, ClaimLost)
            given_back = await self._give_back(give_back, waits=waits)
            if not work.has_begun or given_back or not failed:
                raise
            if given_back is None and not work.asked_to_finish:
                raise
            if await work.finish_was_committed():
                return
            if given_back is None:
                raise
            raise ClaimLost from error

    async def _renewed_if_late(self, claim: Claim, asked_at: float) -> float:
        """Renew the lease of a claim that took long to begin, because the catalog is busy: since
        when it holds is not known. Returns since when it holds at least. Raises CatalogError,
        ClaimLost.
        """
        now = anyio.current_time()
        if now - asked_at < self.settings.renew_every.total_seconds():
            return asked_at
        if claim not in await self.catalog.renew_leases([claim]):
            raise ClaimLost
        return now

    @asynccontextmanager
    async def _keep_lease(self, claim: Claim, since: float) -> AsyncIterator[None]:
        deadline = since + self.settings.trust.total_seconds()
        with anyio.CancelScope(deadline=deadline) as scope:
            self._held[claim] = scope
            try:
                yield
            finally:
                del self._held[claim]
        if scope.cancelled_caught:
            raise ClaimLost

    async def _give_back(
        self, give_back: Callable[[], Awaitable[object]], *, waits: bool
    ) -> bool | None:
        """Whether the claim was still ours; None: the catalog did not answer, and the lease will
        expire.

        ``waits``: whether calls to an unavailable catalog are retried until then.
        """
        with anyio.move_on_after(self.settings.lease.total_seconds(), shield=True):
            try:
                await (retry_until_available(give_back) if waits else give_back())
            except ClaimLost:
                return False  # finished after all, deleted, or taken over
            except CatalogError as error:
                log.debug("claim.give_back_failed", error=str(error))
            except ImagedError as error:
                log.warning("claim.give_back_failed", error=str(error))
            else:
                return True
        return None

    def _new_claim(self) -> Claim:
        return Claim(uuid4(), self.instance, self.settings.lease)


def _was_refused(error: BaseException) -> bool:
    """Whether it is certain that nothing was claimed."""
    return isinstance(error, ImagedError) and not isinstance(error, CatalogError)


def _reason(error: BaseException) -> str:
    """The reason shown to the image's owner."""
    if isinstance(error, ImagedError):
        return error.for_clients
    if isinstance(error, Exception):
        return "The server made a mistake; its log has the details."
    return "The server was stopped."
