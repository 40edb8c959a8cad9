"""Derives from a change of an image the changes of its blobs.

A catalog runs a change and then asks this module what else to write in the same transaction. So
drivers contain no rules, rules contain no SQL, and no change can omit the ledger.

Rule 1: an image holds its bytes until it is emptied or expired; deletion is not enough.
Rule 2: bytes that no image holds are doomed, and doomed is final.
Rule 3: bytes whose writer may still be active are due only when its lease must have expired.
Rule 4: the record of an expired image is removed with its last bytes, not before.
Rule 5: the block checksums of a blob are stored by the change that completes it.
Rule 6: blobs without a row are deleted only if they are few. A few are left by double faults; many
indicate that the catalog does not match the store: it is new, restored from an old backup, or the
wrong one. Then the blobs are images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from imaged.core import task as task_rules
from imaged.core.blob import Blob, BlobState, doom
from imaged.core.deletion import lose_location
from imaged.core.errors import BlobGone
from imaged.core.history import starts_staging
from imaged.core.image import Image, Location
from imaged.core.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class StrayLimits:
    """The limits up to which blobs without a row are deleted automatically; both apply.

    ``max_share``: of all blobs of the store, between 0 and 1.
    """

    max_strays: int
    max_share: float

    def allow(self, strays: int, keys: int) -> bool:
        """Whether this many strays among the ``keys`` of a store may go; never all of them."""
        if not strays:
            return True
        return strays <= self.max_strays and strays <= keys * self.max_share and strays < keys


def touched(before: Image, after: Image) -> list[str]:
    """The keys of the blobs to lock, in the order that all transactions use."""
    if before.held == after.held and before.claim == after.claim:
        return []
    return sorted(before.held.keys() | after.held.keys())


def settle(
    before: Image, after: Image, blobs: Mapping[str, Blob], now: datetime
) -> tuple[Image, list[Blob]]:
    """The image to store, and the blobs to store with it. Raises BlobGone.

    ``blobs``: the existing rows of the keys returned by ``touched``.
    """
    rows = {
        key: _holding(after, after.held[key], blobs.get(key), held_before=key in before.held)
        for key in touched(before, after)
        if key in after.held
    }
    for key in before.held.keys() - after.held.keys():
        rows[key] = _letting_go(before, after, blobs[key], now)
    for key in before.held if after.is_expired else ():
        if rows[key].state is not BlobState.DOOMED:  # another image still holds them
            after = lose_location(after, key)
    return stamp(before, after, now), list(rows.values())


def block_checksums_of(after: Image) -> dict[str, bytes]:
    """The block checksums to store, by key: those of blobs that a writer has just completed."""
    written = [(after.staged, after.staged_content)]
    written += [(location, after.content) for location in after.locations[:1]]
    return {
        location.key: content.block_checksums
        for location, content in written
        if location is not None and content is not None and content.block_checksums
    }


def without_block_checksums(image: Image) -> Image:
    """The image without its block checksums, which are stored separately."""
    if not block_checksums_of(image):
        return image
    contents = (image.content, image.staged_content)
    content, staged = (it and replace(it, block_checksums=b"") for it in contents)
    return replace(image, content=content, staged_content=staged)


def settle_scrubbed(before: Image, key: str, now: datetime) -> Image:
    """The expired image after the deletion of one blob."""
    return stamp(before, lose_location(before, key), now)


def stamp(before: Image, after: Image, now: datetime) -> Image:
    """Set the time of the change, and date a new failure, broken upload or answer of a member.

    Members have times of their own: a change of them alone does not update the image.
    """
    is_begun = after.status is not before.status or starts_staging(before, after)
    since = now if is_begun else before.since
    failure = after.last_failure
    if failure is not None and failure.at is None:
        failure = replace(failure, at=now)
    broken = after.broken_upload
    if broken is not None and broken.at is None:
        broken = replace(broken, at=now)
    members = {key: member.dated(now) for key, member in after.members.items()}
    is_about_members = (
        members != before.members and replace(after, members=before.members) == before
    )
    after = replace(
        after,
        members=members,
        since=since,
        updated_at=before.updated_at if is_about_members else now,
        ahead_bytes=None if after.claim is None else after.ahead_bytes,
        version=before.version + 1,
        last_failure=failure,
        broken_upload=broken,
        task=_settle_task(before, after, now),
    )
    return replace(after, created_at=now) if before.draft and not after.draft else after


def _settle_task(before: Image, after: Image, now: datetime) -> Task | None:
    """The task to store with the image, dated, if it is new, changed, or has just ended."""
    known, task = before.task, after.task
    if task is None or task == known:
        return task
    if known is None or known.id != task.id:
        return task_rules.created(task, now)
    return task_rules.stamp(known, task, now)


def without_ended_task(image: Image) -> Image:
    """The image without its task, if the task has ended."""
    return replace(image, task=None) if image.task and image.task.is_final else image


def created(image: Image, now: datetime) -> Image:
    """Set the creation time of the image, of its members and of its task."""
    members = {key: member.dated(now) for key, member in image.members.items()}
    task = image.task and task_rules.created(image.task, now)
    return replace(image, members=members, created_at=now, updated_at=now, since=now, task=task)


def doomed_stray(location: Location, due_at: datetime) -> Blob:
    """The row of a stray blob, or of one that may still appear, so that it is deleted."""
    blob = Blob(location.key, location.store, location.size_bytes)
    return doom(blob, due_at, awaited_by=None)


def stray_warning(strays: int, keys: int) -> str:
    """The warning for operators about strays that are too many to delete."""
    return (
        f"{strays} of its {keys} blobs have no row, and none of them is deleted: is "
        "catalog.url right, and is the catalog the newest? `imaged reconcile` lists them"
    )


def _holding(image: Image, location: Location, blob: Blob | None, *, held_before: bool) -> Blob:
    if blob is None:
        if image.claim is None:
            raise BlobGone(location.key)
        return Blob(location.key, location.store, location.size_bytes)
    if not held_before:
        if blob.state is not BlobState.KEPT:
            raise BlobGone(location.key)
        return replace(blob, holders=blob.holders + 1)
    if blob.state is BlobState.WRITING and image.claim is None:
        blob = replace(blob, state=BlobState.KEPT)
    return replace(blob, size_bytes=location.size_bytes)


def _letting_go(before: Image, after: Image, blob: Blob, now: datetime) -> Blob:
    if blob.holders > 1:
        return replace(blob, holders=blob.holders - 1)
    writing = blob.state is BlobState.WRITING and before.claim is not None
    wait = before.claim.lease if writing and before.claim else timedelta(0)
    awaited_by = after.id if after.is_expired else None
    return doom(blob, now + wait, awaited_by)
