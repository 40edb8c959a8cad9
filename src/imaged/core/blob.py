"""A row of the ledger: the bytes of one attempt, under a key that is never used again.

The row is written before the first byte and leaves after the last byte is gone:

    (new) ── writing ──► kept ──► doomed ──► (gone)
                │                   ▲
                └───────────────────┘

Doomed is final. That is why a delete may come late, twice, or from a scrubber thought dead,
and never hurts: nothing that it can hit is ever referred to again. And that is why scrubbing
needs no claim: who takes a blob only puts off its next turn.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from imaged.core.errors import BlobGone

FIRST_RETRY_DELAY = timedelta(seconds=10)
MAX_RETRY_DELAY = timedelta(hours=1)


class BlobState(StrEnum):
    """Where the bytes are in their life."""

    WRITING = "writing"
    KEPT = "kept"
    DOOMED = "doomed"


@dataclass(frozen=True, slots=True)
class Blob:
    """The bytes of one attempt, in one store."""

    key: str
    store: str
    size_bytes: int  # reserved while being written, exact afterwards
    state: BlobState = BlobState.WRITING
    holders: int = 1  # images that need these bytes; none exactly when doomed
    due_at: datetime | None = None  # doomed: not to be deleted before
    awaited_by: str | None = None  # doomed: the expired image whose record goes with them
    failures: int = 0  # how often their deletion failed
    last_error: str | None = None
    upload_id: str | None = None  # the store's own name for the write, where it gives one
    is_unfinished: bool = False  # doomed: while being written, so that more of them may come
    is_swept: bool = False  # doomed: deleted once; looked at again, because more may have come


def doom(blob: Blob, due_at: datetime, awaited_by: str | None) -> Blob:
    """Nobody needs these bytes any more."""
    return replace(
        blob,
        state=BlobState.DOOMED,
        holders=0,
        due_at=due_at,
        awaited_by=awaited_by,
        is_unfinished=blob.state is BlobState.WRITING,
    )


def record_upload_id(blob: Blob, upload_id: str) -> Blob:
    """The store has begun to write, under this name of its own. Raises BlobGone."""
    if blob.state is not BlobState.WRITING:
        raise BlobGone(blob.key)
    return replace(blob, upload_id=upload_id)


def schedule_recheck(blob: Blob, now: datetime, again_after: timedelta) -> Blob:
    """They are gone, but a write that was under way may still land: look once more, later."""
    return replace(
        blob, due_at=now + again_after, is_swept=True, size_bytes=0, failures=0, last_error=None
    )


def needs_recheck(blob: Blob, settles_after: timedelta) -> bool:
    """Whether bytes that were just deleted may come again, in a store that settles so late."""
    return blob.is_unfinished and not blob.is_swept and settles_after > timedelta(0)


def start_deletion(blob: Blob, now: datetime, busy_for: timedelta) -> Blob:
    """Somebody tries to delete them. If we hear no more of it, others may, after so long."""
    return replace(blob, due_at=now + busy_for)


def reschedule(blob: Blob, now: datetime, why: str) -> Blob:
    """They would not go. Others have their turn first."""
    failures = blob.failures + 1
    return replace(blob, due_at=now + retry_delay(failures), failures=failures, last_error=why)


def retry_delay(failures: int) -> timedelta:
    """10 s after the first failure, twice as long after each other, an hour at most."""
    return min(FIRST_RETRY_DELAY * (1 << min(failures - 1, 16)), MAX_RETRY_DELAY)
