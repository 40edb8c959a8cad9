"""A catalog in an SQL database: each method of the port is one transaction.

Strategy. A transaction is written once, as a plain function of a connection (``images.py``,
``blobs.py``, ``leases.py`` and others). The database decides how it is run: SQLite in a thread
(``sqlite/driver.py``), PostgreSQL in a greenlet (``postgresql/driver.py``). See
docs/decisions/0002. What a transaction changed is logged when it is committed (``change_log.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from imaged.catalogs import (
    image_pages,
    image_rows,
    images,
    leases,
    status_query,
    task_rows,
    tasks,
)
from imaged.catalogs.change_log import ChangeLog, bound_actor
from imaged.catalogs.database import Database, ListBudgetSpent, Transaction
from imaged.catalogs.sql_accounts import SqlAccounts
from imaged.catalogs.sql_blobs import SqlBlobs
from imaged.catalogs.sql_installation import SqlInstallation
from imaged.catalogs.sql_outbox import SqlOutbox
from imaged.core import ledger
from imaged.core.claim import Claim, InstanceId
from imaged.core.errors import ListTooBroad
from imaged.core.history import ImageHistory
from imaged.core.image import Change, Image
from imaged.core.list_plan import LIST_BUDGET, filter_to_add, is_simple
from imaged.core.query import ImagePage, ImageQuery, TaskQuery
from imaged.core.summary import Summary
from imaged.core.task import Progress, Task, TaskChange
from imaged.ports.image_catalog import HeldClaim
from imaged.ports.project_limits import ProjectLimits

T = TypeVar("T")

SHORT_PAGE = 50  # images: about a millisecond


class SqlCatalog(SqlAccounts, SqlBlobs, SqlInstallation, SqlOutbox):
    """Keeps the catalog in a database."""

    def __init__(
        self,
        database: Database,
        change_log: ChangeLog | None = None,
        limits: ProjectLimits | None = None,
    ) -> None:
        super().__init__(database, limits)
        self.change_log = change_log or ChangeLog()
        self.list_budget = LIST_BUDGET

    async def close(self) -> None:
        """Wait for running transactions, and close every connection."""
        await self.database.close()

    async def check(self) -> None:
        """Check that the database answers. Raises CatalogError."""
        await self.database.check()

    # images

    async def add_image(self, image: Image) -> Image:
        """Store a new image; returns it with its timestamps. Raises what the port says."""
        add = partial(images.add, image=image, by=bound_actor(), wanted=self.wanted_events)
        added = await self.write_charged(add, image.id)
        self.change_log.image_changed(None, added)
        return added

    async def get_image(self, image_id: str) -> Image:
        """Return the image. Raises ImageNotFound."""
        return await self.database.read_short(partial(image_rows.read, image_id=image_id))

    async def get_history(self, image_id: str) -> ImageHistory:
        """Return the image with its history. Raises ImageNotFound."""
        return await self.database.read(partial(image_rows.read_history, image_id=image_id))

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of the page that ``core/query`` describes, about this long."""
        listed = partial(image_pages.list_page, query=query, max_bytes=max_bytes)
        is_short = query.limit <= SHORT_PAGE and is_simple(query)
        return await self._read_list(
            listed,
            filter_to_add(query),
            is_short=is_short,
            is_single=image_pages.is_single(query),
        )

    async def _read_list(
        self,
        transaction: Transaction[T],
        filter_to_add: str,
        *,
        is_short: bool = False,
        is_single: bool = False,
    ) -> T:
        """Raises ListTooBroad, ListTooSlow, CatalogError."""
        try:
            return await self.database.read_list(
                transaction, self.list_budget, is_short=is_short, is_single=is_single
            )
        except ListBudgetSpent as error:
            seconds = error.budget.total_seconds()
            raise ListTooBroad(seconds, filter_to_add) from error

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a change and its consequences. Raises what the port says."""
        modify = partial(
            images.modify,
            image_id=image_id,
            change=change,
            by=bound_actor(),
            wanted=self.wanted_events,
        )
        before, after = await self.write_charged(modify, image_id)
        self.change_log.image_changed(before, after)
        return ledger.without_ended_task(after)

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Restorable images in pending_delete for at least this long, the longest first."""
        return await self.database.read(partial(images.find_expirable, delay=delay, limit=limit))

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images in uploading whose last change is at least this long ago."""
        return await self.database.read(partial(images.find_staged, idle_for=idle_for, limit=limit))

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images whose upload broke off at least this long ago, the longest first."""
        find = partial(images.find_broken_uploads, idle_for=idle_for, limit=limit)
        return await self.database.read(find)

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Replace the records of images deleted at least this long ago by tombstones."""
        purge = partial(images.purge, deleted_for=deleted_for, limit=limit)
        return await self.database.write(purge)

    # tasks

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image; returns it with its timestamps."""
        added = await self.database.write(partial(tasks.add, task=task, wanted=self.wanted_events))
        self.change_log.task_changed(None, added)
        return added

    async def get_task(self, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        return await self.database.read(partial(task_rows.read, task_id=task_id))

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Return the page that ``core/query`` describes."""
        listed = partial(tasks.list_tasks, query=query)
        return await self._read_list(listed, "image_id=ID")

    async def count_unfinished_tasks(self, owner: str) -> int:
        """The number of this owner's tasks that are pending or being worked on."""
        return await self.database.read(partial(tasks.count_unfinished, owner=owner))

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a change. Raises what the port says."""
        modify = partial(
            tasks.modify,
            task_id=task_id,
            change=change,
            by=bound_actor(),
            wanted=self.wanted_events,
        )
        changed = await self.write_charged(modify)
        if changed.image is not None:
            self.change_log.image_changed(*changed.image)
        else:
            self.change_log.task_changed(changed.before, changed.after)
        return changed.after

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Record the progress of an attempt."""
        advance = partial(tasks.advance, task_id=task_id, attempt=attempt, progress=progress)
        await self.database.write(advance)

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Pending tasks of these types, owners in turn."""
        if not types:
            return ()
        return await self.database.read(partial(tasks.find_pending, types=types, limit=limit))

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Tasks of none of these types that have been pending for at least this long."""
        find = partial(tasks.find_stale, known=known, pending_for=pending_for, limit=limit)
        return await self.database.read(find)

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Remove the record, unless ``allow`` raises. Raises TaskNotFound, TaskNotFinal."""
        await self.database.write(
            partial(tasks.remove, task_id=task_id, allow=allow, wanted=self.wanted_events)
        )

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of expired tasks, the longest expired first."""
        return await self.database.write(
            partial(tasks.expire, limit=limit, wanted=self.wanted_events)
        )

    # leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Renew the leases of these claims; returns the claims that still exist."""
        if not claims:
            return set()
        return await self.database.write(partial(leases.renew, held=claims), goes_first=True)

    async def find_lapsed(self, limit: int) -> Sequence[HeldClaim]:
        """Claims whose leases expired, the longest first."""
        return await self.database.read(partial(leases.find_lapsed, limit=limit))

    async def find_held(self, holder: InstanceId, limit: int) -> Sequence[HeldClaim]:
        """The claims of one holder, by token."""
        held = partial(leases.find_held, holder=holder, limit=limit)
        return await self.database.read(held)

    async def list_attempts(self) -> Collection[UUID]:
        """The tokens of all claims."""
        return await self.database.read(leases.list_attempts)

    # the whole catalog

    async def summarize(self) -> Summary:
        """Count everything in one transaction."""
        return await self.database.read(status_query.summarize)
