"""Counts the dictionaries of the catalog in memory for its summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from imaged.core.blob import Blob, BlobState
from imaged.core.claim import Claim, instance_of
from imaged.core.image import Image
from imaged.core.integrity import is_damaged
from imaged.core.lifecycle import Status
from imaged.core.summary import (
    MAX_DAMAGED_LISTED,
    BlobUsage,
    DamagedImage,
    HeldImage,
    HeldTask,
    TaskCount,
)
from imaged.core.task import Task, TaskStatus
from imaged.ports.image_catalog import HeldClaim


def held_images(
    by_id: Mapping[str, Image], leases: Mapping[Claim, tuple[datetime, HeldClaim]]
) -> Sequence[HeldImage]:
    """The claimed images, by instance."""
    found = [
        HeldImage(instance_of(claim.owner), image.id, image.status, image.since, until)
        for claim, (until, lapsed) in leases.items()
        if lapsed.image_id is not None and (image := by_id[lapsed.image_id]).since is not None
    ]
    return sorted(found, key=lambda holding: (holding.instance, holding.image_id))


def held_tasks(
    by_id: Mapping[str, Task],
    images: Mapping[str, Image],
    leases: Mapping[Claim, tuple[datetime, HeldClaim]],
) -> Sequence[HeldTask]:
    """The tasks being worked on, by instance: with claims of their own, or with an image's."""
    found: list[HeldTask] = []
    for claim, (until, lapsed) in leases.items():
        task = by_id[lapsed.task_id] if lapsed.task_id is not None else None
        if lapsed.image_id is not None:
            task = images[lapsed.image_id].task
        if task is not None and task.begun_at is not None:
            found.append(
                HeldTask(
                    instance_of(claim.owner), task.id, task.type, task.owner, task.begun_at, until
                )
            )
    return sorted(found, key=lambda holding: (holding.instance, holding.task_id))


def images(records: Iterable[Image]) -> Mapping[Status, int]:
    """The number of images in each status."""
    return Counter(image.status for image in records)


def oldest(records: Iterable[Image]) -> Mapping[Status, datetime]:
    """For each status, since when its longest-standing image has had it."""
    found: dict[Status, datetime] = {}
    for image in records:
        if image.since is not None:
            found[image.status] = min(image.since, found.get(image.status, image.since))
    return found


def restorable(records: Iterable[Image]) -> Sequence[Image]:
    """The images that wait for the end of their delay, those that were deleted first before."""
    found = [image for image in records if image.deleted_from is not None and image.since]
    return sorted(found, key=lambda image: (image.since, image.id))


def damaged_images(records: Iterable[Image]) -> Sequence[DamagedImage]:
    """The images in use whose data is damaged."""
    found = [
        DamagedImage(image.id, image.damage)
        for image in sorted(records, key=lambda image: image.id)
        if image.damage is not None and is_damaged(image)
    ]
    return found[:MAX_DAMAGED_LISTED]


def blob_usage(ledger: Iterable[Blob]) -> Sequence[BlobUsage]:
    """The bytes of each state in each store."""
    groups: dict[tuple[str, BlobState], list[Blob]] = {}
    for blob in ledger:
        groups.setdefault((blob.store, blob.state), []).append(blob)
    return [
        BlobUsage(
            store,
            state,
            blobs=len(group),
            size_bytes=sum(blob.size_bytes for blob in group),
            failing=sum(blob.failures > 0 for blob in group),
        )
        for (store, state), group in sorted(groups.items())
    ]


def oldest_due_at(ledger: Iterable[Blob]) -> datetime | None:
    """When the longest due blob became due."""
    return min((blob.due_at for blob in ledger if blob.due_at is not None), default=None)


def tasks(records: Iterable[Task]) -> Sequence[TaskCount]:
    """The number of tasks of each type in each status."""
    groups: dict[tuple[str, TaskStatus], list[Task]] = {}
    for task in records:
        groups.setdefault((task.type, task.status), []).append(task)
    return [
        TaskCount(name, status, len(group), min(filter(None, (one.created_at for one in group))))
        for (name, status), group in sorted(groups.items())
    ]
