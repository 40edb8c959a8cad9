"""The parts of the catalog that one change of an image may write (rules: ``ports/catalog.py``).

A service asks for the parts that it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from imaged.core.blob import Blob
from imaged.core.claim import Claim, InstanceId
from imaged.core.history import ImageHistory
from imaged.core.image import Change, Image, Location
from imaged.core.query import ImagePage, ImageQuery, TaskQuery
from imaged.core.quota import Account, Limits, Recount, Resource
from imaged.core.task import Progress, Task, TaskChange


class ImageCatalog(Protocol):
    """Stores images, and tombstones of those that are gone."""

    async def add_image(self, image: Image) -> Image:
        """Store a new image, dated by ``ledger.created``, and return it; a draft includes its task.

        Raises ImageExists, also for the id of a tombstone; QuotaExceeded.
        """
        ...

    async def get_image(self, image_id: str) -> Image:
        """Return the image in any status. Raises ImageNotFound."""
        ...

    async def get_history(self, image_id: str) -> ImageHistory:
        """Return the image in any status, with its history. Raises ImageNotFound.

        Each change writes its entry (``core/history.py``) with the image, in the name of the bound
        fields of the log; the record and its history are removed together.
        """
        ...

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of the page that ``core/query`` defines: at least one image, and
        about ``max_bytes``.

        At most that, and one more image, is ever in memory. The result never exceeds that of
        ``core.query.page_within``; a catalog may count more bytes for an image.
        """
        ...

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a pure change to the stored image, and its consequences, atomically.

        ``change`` may run more than once. If it raises, or a consequence is refused, nothing is
        written. If it returns the same object, nothing is written either. The task of the image is
        written with it; a task that has ended is no longer in the returned image (``get_task``
        returns it).
        Raises ImageNotFound, BlobGone, QuotaExceeded, and the errors of ``change``.
        """
        ...

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Restorable images that have been in pending_delete for ``delay``, the longest first."""
        ...

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images in uploading whose last change is at least ``idle_for`` ago."""
        ...

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Unclaimed images with a broken upload whose ``at`` is at least ``idle_for`` ago; the
        longest first.
        """
        ...

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Replace the records of images that were deleted ``deleted_for`` ago by tombstones; return
        their ids.

        A tombstone keeps only the id, so that it is never reused.
        """
        ...


class TaskCatalog(Protocol):
    """Stores tasks."""

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image, and return it dated by ``task.created``."""
        ...

    async def get_task(self, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        ...

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Return the page that ``core/query`` defines."""
        ...

    async def count_unfinished_tasks(self, owner: str) -> int:
        """The number of this owner's tasks that wait for a worker or have one."""
        ...

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a pure change to the stored task, atomically, and return the task after it.

        If the task writes an image and is not final, this is ``modify_image`` with
        ``uploading.change_task(change)``: the consequences for the image are written with it. The
        rules for ``change`` are the same. Raises TaskNotFound, and the errors of ``change``.
        """
        ...

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Record the progress of an attempt, locking only the row.

        Does nothing if the task is gone, not processing, or in another attempt.
        """
        ...

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Tasks of these types that wait for a worker, in the order in which they should begin.

        Owners take turns: the n-th waiting task of an owner has the turn n plus the number of the
        owner's tasks in processing, anywhere. Lower turns first; among equals the owner for whom a
        task began longest ago, or never; then the oldest.
        """
        ...

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Pending tasks of other types that have waited for ``pending_for``, the longest first.

        The wait of a task that was given back begins at that time.
        """
        ...

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Remove the record, unless ``allow`` raises. Raises TaskNotFound, TaskNotFinal, and the
        errors of ``allow``.
        """
        ...

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of tasks of all owners whose ``expires_at`` has passed, the longest
        first. Their results stay.
        """
        ...


class BlobCatalog(Protocol):
    """The ledger: a row for every blob in a store, and its block checksums."""

    async def get_blob(self, key: str) -> Blob | None:
        """Return the row of a blob, or None."""
        ...

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """Return a page of a blob's block checksums (``core/integrity.py``).

        None if none are recorded: for blobs of earlier versions, and for unknown keys.
        """
        ...

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """Record the checksums of all blocks of a blob, replacing the recorded ones.

        Does nothing for a blob that is incomplete or no longer needed.
        """
        ...

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """Take doomed blobs that are due, the longest first. They are due again after
        ``busy_for``.
        """
        ...

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """List doomed blobs, due or not, the longest due first, without taking them."""
        ...

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """Record the store's own identifier of a write. Raises BlobGone unless it may continue."""
        ...

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """The bytes are deleted, but more may arrive: the blob is due once more, ``after`` from
        now.

        Does nothing if the row is gone or not doomed.
        """
        ...

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """Postpone a blob whose deletion failed. Returns the row, or None if it is gone."""
        ...

    async def remove_blob(self, key: str) -> Image | None:
        """Remove the row of deleted bytes, and with the last row an expired image.

        Does nothing if the row is gone or not doomed. Returns the image that became deleted by it,
        if any.
        """
        ...

    async def remove_blobs(self, keys: Collection[str]) -> Collection[str]:
        """Do what ``remove_blob`` does for each of these keys, in one transaction that waits for no
        lock.

        Returns the keys of rows that others had locked, for ``remove_blob``. Raises CatalogError,
        also if only one of the rows was refused: nothing is written then.
        """
        ...

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """Doom bytes that have no row, to be deleted after ``quarantine``.

        An existing row stays unchanged. Returns whether there was none.
        """
        ...

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """Every key of this store with this prefix, in any state."""
        ...

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """The keys of this store with this prefix whose bytes are complete and needed."""
        ...


@dataclass(frozen=True, slots=True)
class HeldClaim:
    """A claim as it is stored: on an image, or on a task that writes none."""

    claim: Claim
    image_id: str | None
    task_id: str | None = None


class LeaseCatalog(Protocol):
    """The leases of claims on images and tasks."""

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Renew the leases of these claims; return the claims that are still valid.

        A claim that another transaction is changing is not waited for: it is valid until that
        transaction is committed, and its lease is renewed next time.
        """
        ...

    async def find_lapsed(self, limit: int) -> Sequence[HeldClaim]:
        """Claims whose leases expired, the longest first; then those dated by a clock that has gone
        back since, which would otherwise last longer than a lease. Of one instant: by token.
        """
        ...

    async def find_held(self, holder: InstanceId, limit: int) -> Sequence[HeldClaim]:
        """The claims of one holder, expired or not, by token."""
        ...

    async def list_attempts(self) -> Collection[UUID]:
        """The tokens of all claims, expired or not: their files may still be needed."""
        ...


class AccountCatalog(Protocol):
    """The usage of each project, and the limits of its own."""

    async def set_limits(
        self, owner: str, limits: Limits, reset: Collection[Resource] = ()
    ) -> Account:
        """Set these limits of a project; for those to ``reset`` the defaults hold again."""
        ...

    async def get_account(self, owner: str) -> Account:
        """Return the account of a project; without any usage or limit if it is unknown."""
        ...

    async def list_accounts(self, after: str | None, limit: int) -> Sequence[Account]:
        """The accounts of the next projects by name, ``limit`` at most. ``after``: the last one."""
        ...

    async def recount_next(self, after: str | None) -> Recount | None:
        """Compare the account of the next project by name with its images, in one state of the
        catalog; None if there is none.
        """
        ...

    async def correct_account(self, owner: str) -> Recount:
        """Compare the account of a project with its images, and correct it; ``account`` of the
        answer is the one before that. Nothing that changes meanwhile is missed or counted twice.
        """
        ...
