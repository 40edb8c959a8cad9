"""What the services ask of a place that keeps facts.

Everything that changes an image, its bytes, its task or its owner's account is one
``modify_image``, and that is one transaction: lock the image, run the pure change, ask
``core/ledger`` what follows, lock that, write. Doomed blobs are a queue beside it. Locks are
always taken in one order, so that nobody waits in a circle:

    image  →  blobs, by key  →  accounts, by owner  →  lease  →  task

A task that writes an image is changed under the lock of that image, until it is final; all other
tasks have locks, and leases, of their own.

The catalog's clock decides leases and due moments; no other clock does.

Every method may raise ``CatalogError``; other errors of a driver never leave it. After a
``CatalogError`` it is not known whether the call was carried out.
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
    """A claim whose lease ran out: on an image, or on a task that writes none."""

    claim: Claim
    image_id: str | None
    task_id: str | None = None


class Catalog(TaskCatalog, Protocol):
    """A place that keeps facts. It holds no rules; those are in ``core``."""

    async def check(self) -> None:
        """Make sure that it answers. Raises CatalogError."""
        ...

    # images

    async def add_image(self, image: Image) -> Image:
        """Store a new image, dated (``ledger.created``), and return it; with the task that is to
        make it, if it is a draft. Raises ImageExists, also for the id of a tombstone.
        """
        ...

    async def get_image(self, image_id: str) -> Image:
        """Return the image, whatever its status. Raises ImageNotFound."""
        ...

    async def list_images(self, query: ImageQuery) -> Sequence[Image]:
        """Return the page that ``core/query`` describes."""
        ...

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of that page which has about so many bytes, and one image at least.

        No more than that, and one image, is ever in memory. What ``core.query.page_within`` would
        take is never exceeded; a catalog may count more bytes for an image.
        """
        ...

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a pure change to the stored image, and what follows, atomically.

        ``change`` may run more than once. If it raises, or what follows is refused, nothing is
        written. If it returns the image that it was given, nothing is written either. The task of
        the image is written with it; one that is final now is no longer in the image that is
        returned (``get_task`` has it).
        Raises ImageNotFound, BlobGone, QuotaExceeded, and whatever ``change`` raises.
        """
        ...

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Images in pending_delete for so long and still restorable, the longest first."""
        ...

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Images in uploading, unclaimed, whose last change is so long ago."""
        ...

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Images that remember a broken upload, unclaimed, whose ``broken_upload.at`` is so long
        ago; the longest first.
        """
        ...

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Replace the records of images that are deleted for so long by tombstones; their ids.

        What is left of such an image is that its id is never used again.
        """
        ...

    # blobs

    async def get_blob(self, key: str) -> Blob | None:
        """Return the row of the ledger, if it is there."""
        ...

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """Return a page of the checksums of a blob's blocks (``core/block_checksums.py``).

        None where none are recorded: for bytes of versions before, and for keys that are unknown.
        """
        ...

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """Record the checksums of all blocks of a blob, in place of those that were recorded.

        A blob that is not whole, or not needed any more, is fine; nothing is recorded for it.
        """
        ...

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """Blobs that are due, the longest due first. They are due again after so long."""
        ...

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """Blobs that are doomed, due or not, the longest due first; nothing is taken."""
        ...

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """Note the store's own name for a write. Raises BlobGone unless it may still go on."""
        ...

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """These bytes are gone, but more may come: due once more, after so long.

        A row that has left, or is not doomed, is fine.
        """
        ...

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """These bytes would not go. Returns the row; None where it has left, which is fine."""
        ...

    async def remove_blob(self, key: str) -> Image | None:
        """These bytes are gone: the row leaves, and with the last row an expired image.

        A row that has left is fine. A row that is not doomed stays. Returns the image that became
        deleted by it, if one did.
        """
        ...

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """Doom bytes that the ledger does not know, to be deleted after so long.

        A row that is there stays as it is. Returns whether there was none.
        """
        ...

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """Every key of the ledger in this store that begins so, whatever its state."""
        ...

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """Those of the keys whose bytes are whole and needed."""
        ...

    # leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Prolong the leases of these claims; return the claims that still stand.

        One that another transaction is changing is not waited for: it stands until that is
        committed, and its lease is prolonged the next time.
        """
        ...

    async def find_lapsed(self, limit: int) -> Sequence[LapsedClaim]:
        """Claims whose leases ran out, the longest first; then those that were dated by a clock
        which has gone back since, so that they would last longer than a lease.
        """
        ...

    async def list_attempts(self) -> Collection[UUID]:
        """The tokens of all claims that stand, lapsed or not: whose files may still be needed."""
        ...

    # accounts

    async def set_limit(self, owner: str, limit_bytes: int | None) -> Account:
        """Say how many bytes a project may hold; None: no limit."""
        ...

    async def get_account(self, owner: str) -> Account:
        """Return what a project holds and may hold; all zero where nothing is known of it."""
        ...

    # places

    async def get_id(self) -> UUID:
        """The id of this catalog: made with it, and the same in every copy of it."""
        ...

    async def list_places(self) -> Sequence[Place]:
        """The places that are known, by kind and name."""
        ...

    async def add_place(self, place: Place) -> Place:
        """Know a place from now on. Where one of its kind and name is known, that one stays.

        Returns the one that is known then.
        """
        ...

    async def replace_place(self, place: Place) -> None:
        """Know this place instead of the one of its kind and name."""
        ...

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Note what an operator should look at there; None: all is well. One that is not known is
        fine.
        """
        ...

    # the whole

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Note that an instance is alive; forget those that were silent for so long.

        ``started_at`` is the moment of its first beat, ``seen_at`` that of its last.
        """
        ...

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Forget an instance that has ended. One that is not known is fine."""
        ...

    async def read_clock(self) -> ClockReading:
        """The catalog's clock now, and the last mark that was noted of it."""
        ...

    async def note_clock(self, mark: ClockMark) -> None:
        """Note the last moment that was believed, or a step, for the process that starts next."""
        ...

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Note that an operator says that the clock is right, at this moment."""
        ...

    async def redate(self, quarantine: timedelta) -> int:
        """Date anew what lies further ahead than its delay or patience explains, after a clock that
        was ahead has gone back; return how many rows that were.

        What is counted from a moment (a deletion, a last change, a beat) is counted from now; what
        has a moment of its own (an expiry, a doomed blob: ``clock.redate_blob``) has a new one.
        ``quarantine``: how long a stray waits.
        """
        ...

    async def summarize(self) -> Summary:
        """Count everything, in one look."""
        ...
