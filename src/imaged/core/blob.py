"""A row of the ledger: the bytes of one attempt, under a key that is never reused.

The row is written before the first byte and removed after the last byte is deleted:

    (new) ── writing ──► kept ──► doomed ──► (gone)
                │                   ▲
                └───────────────────┘

Doomed is final. Therefore a deletion may be late, repeated, or come from a scrubber believed dead,
and does no harm: no record ever refers to those bytes again. For the same reason scrubbing needs no
claim: taking a blob only postpones its next deletion.

A key is ``<first two hex digits>/<image id>.<attempt>``: the image's id lets operators identify
blobs in a store; the attempt keeps each key unique.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from imaged.core.errors import BlobGone
from imaged.core.retry_policy import RetryPolicy

#: The pauses between attempts to delete a blob.
DELETION_RETRIES = RetryPolicy(first_pause=timedelta(seconds=10), longest_pause=timedelta(hours=1))

KEY_PATTERN = re.compile(
    r"([0-9a-f]{2})/(?=\1)[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\.[0-9a-f]{32}"
)


class BlobState(StrEnum):
    """The states of a blob's bytes."""

    WRITING = "writing"
    KEPT = "kept"
    DOOMED = "doomed"


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of one attempt, in one store."""

    key: str
    store: str
    size_bytes: int  # reserved while writing, exact afterwards
    state: BlobState = BlobState.WRITING
    holders: int = 1  # images that need these bytes; 0 exactly when doomed
    due_at: datetime | None = None  # doomed: the earliest time of deletion
    awaited_by: str | None = None  # doomed: the expired image whose record is removed with it
    failures: int = 0  # failed attempts to delete it
    last_error: str | None = None
    upload_id: str | None = None  # the store's own identifier of the write, if it has one
    is_unfinished: bool = False  # doomed while being written, so more bytes may arrive
    is_swept: bool = False  # doomed: deleted once; checked again, as more may have arrived


def make_key(image_id: str, attempt: UUID) -> str:
    """The key of one attempt to write an image."""
    image_id = image_id.lower()
    return f"{image_id[:2]}/{image_id}.{attempt.hex}"


def is_key(text: str) -> bool:
    """Whether this may be a key; all other names in a store do not belong to imaged."""
    return KEY_PATTERN.fullmatch(text) is not None


def image_id_of_key(key: str) -> str | None:
    """The id of the image that the bytes were written for; None if it is no key.

    Clones of that image may share the bytes, and outlive it.
    """
    return key[3:39] if is_key(key) else None


def doom(blob: Blob, due_at: datetime, awaited_by: str | None) -> Blob:
    """The blob, doomed: no image needs it any more."""
    return replace(
        blob,
        state=BlobState.DOOMED,
        holders=0,
        due_at=due_at,
        awaited_by=awaited_by,
        is_unfinished=blob.state is BlobState.WRITING,
    )


def record_upload_id(blob: Blob, upload_id: str) -> Blob:
    """Record the store's own identifier of the write that has begun. Raises BlobGone."""
    if blob.state is not BlobState.WRITING:
        raise BlobGone(blob.key)
    return replace(blob, upload_id=upload_id)


def schedule_recheck(blob: Blob, now: datetime, again_after: timedelta) -> Blob:
    """Check a deleted blob once more, later: a write that was in flight may still arrive."""
    return replace(
        blob, due_at=now + again_after, is_swept=True, size_bytes=0, failures=0, last_error=None
    )


def needs_recheck(blob: Blob, settles_after: timedelta) -> bool:
    """Whether bytes may reappear after the deletion, in a store with this ``settles_after``."""
    return blob.is_unfinished and not blob.is_swept and settles_after > timedelta(0)


def start_deletion(blob: Blob, now: datetime, busy_for: timedelta) -> Blob:
    """Reserve the blob for one deletion. Others may retry after ``busy_for`` without a report."""
    return replace(blob, due_at=now + busy_for)


def reschedule(blob: Blob, now: datetime, why: str) -> Blob:
    """Postpone a blob whose deletion failed, so that other blobs are processed first."""
    failures = blob.failures + 1
    due_at = now + DELETION_RETRIES.pause(failures)
    return replace(blob, due_at=due_at, failures=failures, last_error=why)
