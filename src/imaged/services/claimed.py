"""A claimed image, or a claimed task that writes none. ``claims.py`` creates them.

Rule: calls to an unavailable catalog are retried until the lease expires. So every change may be
carried out twice; the second ``finish`` is refused as a claim that has ended, and
``finish_was_committed`` tells it from one that was lost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar

import anyio

from imaged.core.claim import Claim
from imaged.core.deletion import require_undeleted
from imaged.core.errors import CatalogUnavailable, ClaimLost
from imaged.core.image import Change, ClaimedChange, Image
from imaged.core.retry_policy import RetryPolicy
from imaged.core.task import ClaimedTaskChange, Task, give_back_task
from imaged.core.uploading import give_back
from imaged.ports.image_catalog import ImageCatalog, TaskCatalog

T = TypeVar("T")

CATALOG_RETRIES = RetryPolicy(
    first_pause=timedelta(milliseconds=100), longest_pause=timedelta(seconds=2)
)


class ClaimedImage:
    """A claimed image: only this work may change and finish it."""

    def __init__(self, catalog: ImageCatalog, claim: Claim, image_id: str) -> None:
        self._catalog = catalog
        self._image_id = image_id
        self._image: Image | None = None
        self.claim = claim
        self.asked_to_finish = False
        self.on_failure: Change | None = None  # change of the image when the attempt fails

    @property
    def image(self) -> Image:
        """The image after the last change."""
        if self._image is None:
            raise ClaimLost
        return self._image

    @property
    def has_begun(self) -> bool:
        """Whether the claim is known to have been made."""
        return self._image is not None

    async def begin(self, change: ClaimedChange) -> Image:
        """Claim the image. Raises the refusals of ``change``, CatalogError."""
        self._image = await self._catalog.modify_image(
            self._image_id, lambda image: change(image, self.claim)
        )
        return self._image

    async def change(self, change: ClaimedChange) -> Image:
        """Change the image during the work. Raises ClaimLost."""
        return await retry_until_available(lambda: self.begin(change))

    async def finish(self, change: ClaimedChange) -> Image:
        """Write the result and end the claim, in one transaction. Raises ClaimLost."""
        self.asked_to_finish = True
        return await self.change(change)

    async def give_back(self, reason: str, *, final: bool, counts: bool, kill: bool) -> None:
        """End the claim without a result. Raises ClaimLost."""
        end, leave = (
            give_back(self.claim, reason, final=final, kill=kill, counts=counts),
            self.on_failure,
        )
        change = end if leave is None else lambda image: end(leave(image))
        await self._catalog.modify_image(self._image_id, change)

    async def finish_was_committed(self) -> bool:
        """Whether ``finish`` was committed although its answer was lost. Raises ImageDeleted."""
        image = await self._catalog.get_image(self._image_id)
        if self.asked_to_finish and image.finished_by == self.claim.token:
            self._image = image
            return True
        if not image.draft:
            require_undeleted(image)
        return False


class ClaimedTask:
    """A claimed task that writes no image: only this work may change and finish it."""

    def __init__(self, catalog: TaskCatalog, claim: Claim, task_id: str) -> None:
        self._catalog = catalog
        self._task_id = task_id
        self._task: Task | None = None
        self.claim = claim
        self.asked_to_finish = False

    @property
    def task(self) -> Task:
        """The task after the last change."""
        if self._task is None:
            raise ClaimLost
        return self._task

    @property
    def has_begun(self) -> bool:
        """Whether the claim is known to have been made."""
        return self._task is not None

    async def begin(self, change: ClaimedTaskChange) -> Task:
        """Claim the task. Raises the refusals of ``change``, CatalogError."""
        self._task = await self._catalog.modify_task(
            self._task_id, lambda task: change(task, self.claim)
        )
        return self._task

    async def change(self, change: ClaimedTaskChange) -> Task:
        """Change the task. Raises ClaimLost."""
        return await retry_until_available(lambda: self.begin(change))

    async def finish(self, change: ClaimedTaskChange) -> Task:
        """Write the result and end the claim, in one transaction. Raises ClaimLost."""
        self.asked_to_finish = True
        return await self.change(change)

    async def give_back(self, reason: str, *, final: bool, counts: bool, kill: bool) -> None:
        """End the claim without a result. Raises ClaimLost."""
        del kill  # applies to uploads only
        change = give_back_task(self.claim, reason, final=final, counts=counts)
        await self._catalog.modify_task(self._task_id, change)

    async def finish_was_committed(self) -> bool:
        """Whether ``finish`` was committed although its answer was lost. Raises TaskNotFound."""
        task = await self._catalog.get_task(self._task_id)
        if self.asked_to_finish and task.finished_by == self.claim.token:
            self._task = task
            return True
        return False


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
