"""The interface of catalogs, which store all records.

Everything that changes an image, its bytes, its task or its owner's account is one
``modify_image``, and that is one transaction: lock the image, run the pure change, ask
``core/ledger`` for its consequences, lock their rows, write. Doomed blobs are a separate queue.
Locks are always taken in one order, so that there are no deadlocks:

    image  →  blobs, by key  →  accounts, by owner  →  lease  →  task

A task that writes an image is changed under the lock of that image until it is final; all other
tasks have locks and leases of their own.

Leases and due times are measured by the catalog's clock alone.

Every method may raise ``CatalogError``, and no other error of the driver. After a ``CatalogError``
it is unknown whether the call was carried out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol
from uuid import UUID

from imaged.core.blob import Blob
from imaged.core.claim import Claim, InstanceId
from imaged.core.clock import ClockMark, ClockReading
from imaged.core.image import Change, Image, Location
from imaged.core.ledger import Account
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.query import ImagePage, ImageQuery
from imaged.core.summary import Instance, Summary
from imaged.ports.task_catalog import TaskCatalog


@dataclass(frozen=True, slots=True)
class LapsedClaim:
    """A claim whose lease expired: on an image, or on a task that writes none."""

    claim: Claim
    image_id: str | None
    task_id: str | None = None


class Catalog(TaskCatalog, Protocol):
    """Stores the records of images, blobs, accounts, places and instances. It holds no rules; those
    are in ``core``.
    """

    async def check(self) -> None:
        """Check that the catalog answers. Raises CatalogError."""
        ...

    # Images

    async def add_image(self, image: Image) -> Image:
        """Store a new image, dated by ``ledger.created``, and return it; a draft includes its task.

        Raises ImageExists, also for the id of a tombstone.
        """
        ...

    async def get_image(self, image_id: str) -> Image:
        """Return the image in any status. Raises ImageNotFound."""
        ...

    async def list_images(self, query: ImageQuery) -> Sequence[Image]:
        """Return the page that ``core/query`` defines."""
        ...

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of that page, about ``max_bytes`` in size, at least one image.

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

    # Blobs

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

    # Leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Renew the leases of these claims; return the claims that are still valid.

        A claim that another transaction is changing is not waited for: it is valid until that
        transaction is committed, and its lease is renewed next time.
        """
        ...

    async def find_lapsed(self, limit: int) -> Sequence[LapsedClaim]:
        """Claims whose leases expired, the longest first; then those dated by a clock that has gone
        back since, which would otherwise last longer than a lease.
        """
        ...

    async def list_attempts(self) -> Collection[UUID]:
        """The tokens of all claims, expired or not: their files may still be needed."""
        ...

    # Accounts

    async def set_limit(self, owner: str, limit_bytes: int | None) -> Account:
        """Set the quota of a project in bytes; None: no limit."""
        ...

    async def get_account(self, owner: str) -> Account:
        """Return usage and quota of a project; all zero if it is unknown."""
        ...

    # Places

    async def get_id(self) -> UUID:
        """The id of this catalog: created with it, and the same in every copy of it."""
        ...

    async def list_places(self) -> Sequence[Place]:
        """The known places, by kind and name."""
        ...

    async def add_place(self, place: Place) -> Place:
        """Add a place. If one of its kind and name is known, that one stays.

        Returns the one that is known afterwards.
        """
        ...

    async def replace_place(self, place: Place) -> None:
        """Replace the place of the same kind and name."""
        ...

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Set the warning for operators about a place; None: no problem. Ignores unknown places."""
        ...

    # Instances, clock and summary

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Record that an instance is alive; remove those silent for ``forget_after``.

        ``started_at`` is the time of its first registration, ``seen_at`` that of its last.
        """
        ...

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Remove an instance that has ended. Ignores unknown ones."""
        ...

    async def read_clock(self) -> ClockReading:
        """The catalog's clock now, and the last mark stored of it."""
        ...

    async def note_clock(self, mark: ClockMark) -> None:
        """Store the last trusted moment, or a step, for the process that starts next."""
        ...

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Record that an operator confirmed the clock at this moment."""
        ...

    async def redate(self, quarantine: timedelta) -> int:
        """Redate what is further ahead than its delay explains, after a clock that was ahead has
        gone back; return the number of rows changed.

        Delays counted from a time (a deletion, a last change, a registration) are counted from now;
        a due time of its own (an expiry, a doomed blob: ``clock.redate_blob``) is set anew.
        ``quarantine``: the delay of a stray.
        """
        ...

    async def summarize(self) -> Summary:
        """Count everything in one consistent snapshot."""
        ...
