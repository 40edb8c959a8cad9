"""A claimed image, or a claimed task that writes none. ``claims.py`` creates them.

Rule: calls to an unavailable catalog are retried until the lease expires. So every change may be
carried out twice; the second ``finish`` is refused as a claim that has ended, and
``finish_was_committed`` tells it from one that was lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Generic, TypeVar

import anyio

from imaged.core.claim import Claim
from imaged.core.deletion import require_undeleted
from imaged.core.errors import CatalogUnavailable, ClaimLost
from imaged.core.image import Change, Image
from imaged.core.retry_policy import RetryPolicy
from imaged.core.task import Task, give_back_task
from imaged.core.uploading import give_back
from imaged.ports.image_catalog import ImageCatalog, TaskCatalog

T = TypeVar("T")
R = TypeVar("R", Image, Task)

CATALOG_RETRIES = RetryPolicy(
    first_pause=timedelta(milliseconds=100), longest_pause=timedelta(seconds=2)
)


class ClaimedRecord(Generic[R]):
    """A claimed record: only this work may change and finish it."""

    def __init__(
        self,
        claim: Claim,
        modify: Callable[[Callable[[R], R]], Awaitable[R]],
        get: Callable[[], Awaitable[R]],
    ) -> None:
        self._modify: Callable[[Callable[[R], R]], Awaitable[R]] = modify
        self._get: Callable[[], Awaitable[R]] = get
        self._record: R | None = None
        self.claim = claim
        self.asked_to_finish = False

    @property
    def record(self) -> R:
        """The record after the last change. Raises ClaimLost if nothing was claimed."""
        if self._record is None:
            raise ClaimLost
        return self._record

    @property
    def has_begun(self) -> bool:
        """Whether the claim is known to have been made."""
        return self._record is not None

    async def begin(self, change: Callable[[R, Claim], R]) -> R:
        """Claim the record. Raises the refusals of ``change``, CatalogError."""
        self._record = await self._modify(lambda record: change(record, self.claim))
        return self._record

    async def change(self, change: Callable[[R, Claim], R]) -> R:
        """Change the record during the work. Raises ClaimLost."""
        return await retry_until_available(lambda: self.begin(change))

    async def finish(self, change: Callable[[R, Claim], R]) -> R:
        """Write the result and end the claim, in one transaction. Raises ClaimLost."""
        self.asked_to_finish = True
        return await self.change(change)

    async def finish_was_committed(self) -> bool:
        """Whether ``finish`` was committed although its answer was lost.

        Raises ImageDeleted, TaskNotFound.
        """
        record = await self._get()
        if self.asked_to_finish and record.finished_by == self.claim.token:
            self._record = record
            return True
        self._require_present(record)
        return False

    def _require_present(self, record: R) -> None:
        """Raise the error of a record that is deleted, if its kind can be read then."""


class ClaimedImage(ClaimedRecord[Image]):
    """A claimed image."""

    def __init__(self, catalog: ImageCatalog, claim: Claim, image_id: str) -> None:
        modify, get = partial(catalog.modify_image, image_id), partial(catalog.get_image, image_id)
        super().__init__(claim, modify, get)
        self.on_failure: Change | None = None  # change of the image when the attempt fails

    @property
    def image(self) -> Image:
        """The image after the last change."""
        return self.record

    async def give_back(self, reason: str, *, final: bool, counts: bool, kill: bool) -> None:
        """End the claim without a result. Raises ClaimLost."""
        end = give_back(self.claim, reason, final=final, kill=kill, counts=counts)
        leave = self.on_failure
        await self._modify(end if leave is None else lambda image: end(leave(image)))

    def _require_present(self, record: Image) -> None:
        if not record.draft:
            require_undeleted(record)


class ClaimedTask(ClaimedRecord[Task]):
    """A claimed task that writes no image."""

    def __init__(self, catalog: TaskCatalog, claim: Claim, task_id: str) -> None:
        modify, get = partial(catalog.modify_task, task_id), partial(catalog.get_task, task_id)
        super().__init__(claim, modify, get)

    @property
    def task(self) -> Task:
        """The task after the last change."""
        return self.record

    async def give_back(self, reason: str, *, final: bool, counts: bool, kill: bool) -> None:
        """End the claim without a result. Raises ClaimLost."""
        del kill  # applies to uploads only
        await self._modify(give_back_task(self.claim, reason, final=final, counts=counts))


async def retry_until_available(ask: Callable[[], Awaitable[T]]) -> T:
    """Retry until the catalog answers, and return the answer or raise the refusal.

    The caller's cancel scope limits the retries: that of a claim ends with its lease. The call may
    be carried out twice, because an answer may be lost.
    """
    pauses = CATALOG_RETRIES.pauses()
    while True:
        with suppress(CatalogUnavailable):
            return await ask()
        await anyio.sleep(next(pauses).total_seconds())


def claimed_task(work: ClaimedImage | ClaimedTask) -> Task:
    """The task that is worked on. Raises ClaimLost if the image has none any more."""
    task = work.task if isinstance(work, ClaimedTask) else work.image.task
    if task is None:
        raise ClaimLost
    return task
