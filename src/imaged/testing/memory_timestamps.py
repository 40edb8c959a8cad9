"""The time of the catalog in memory, and the reset of timestamps that lie too far ahead of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Protocol, TypeVar

from imaged.core.clock import CLOCK_TOLERANCE
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.summary import Instance
from imaged.core.task import Task, TaskStatus

K = TypeVar("K")
T = TypeVar("T")


class Clock(Protocol):
    """Tells the wall time."""

    def now(self) -> datetime:
        """Return the current time in UTC."""
        ...


def redate_records(records: dict[K, T], redate: Callable[[T], T]) -> int:
    """Replace each record by its changed one; returns how many differ."""
    after = {key: redate(record) for key, record in records.items()}
    count = sum(after[key] != record for key, record in records.items())
    records.update(after)
    return count


def redate_image(image: Image, now: datetime) -> Image:
    """An image whose deletion, last change while staged, or broken upload lies ahead."""
    ahead, status, broken = now + CLOCK_TOLERANCE, image.status, image.broken_upload
    if broken is not None and broken.at is not None and broken.at > ahead:
        image = replace(image, broken_upload=replace(broken, at=now))
    if status in {Status.PENDING_DELETE, Status.DELETED} and image.since and image.since > ahead:
        return replace(image, since=now)
    if status is Status.UPLOADING and image.updated_at and image.updated_at > ahead:
        return replace(image, updated_at=now)
    return image


def redate_task(task: Task, now: datetime) -> Task:
    """A task that would be kept for too long, or that became pending in the future."""
    ahead = now + CLOCK_TOLERANCE
    if task.expires_at is not None and task.expires_at - task.keep_for > ahead:
        return replace(task, expires_at=now + task.keep_for)
    is_pending = task.status is TaskStatus.PENDING
    if is_pending and task.updated_at is not None and task.updated_at > ahead:
        return replace(task, updated_at=now)
    return task


def redate_instance(instance: Instance, now: datetime) -> Instance:
    """An instance last heard of in the future."""
    is_ahead = instance.seen_at is not None and instance.seen_at > now + CLOCK_TOLERANCE
    return replace(instance, seen_at=now) if is_ahead else instance
