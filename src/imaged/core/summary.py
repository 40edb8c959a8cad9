"""The state of the whole service at one moment, for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus


@dataclass(frozen=True, slots=True)
class Instance:
    """A process that works on the catalog; listed while it renews its registration."""

    id: InstanceId
    version: str
    roles: tuple[str, ...]
    started_at: datetime | None = None  # both set by the catalog, by its clock
    seen_at: datetime | None = None
    troubles: tuple[str, ...] = ()  # sentences for operators


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image claimed by an instance."""

    instance: InstanceId
    image_id: str
    status: Status
    since: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class BlobUsage:
    """The blobs of one state in one store."""

    store: str
    state: BlobState
    blobs: int
    size_bytes: int
    failing: int = 0  # blobs whose deletion failed at least once


@dataclass(frozen=True, slots=True)
class TaskCount:
    """The tasks of one type in one status."""

    type: str
    status: TaskStatus
    tasks: int
    oldest_at: datetime  # creation time of the oldest of them


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task claimed by an instance."""

    instance: InstanceId
    task_id: str
    type: str
    owner: str
    since: datetime  # start of the attempt
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """The complete state at one moment."""

    at: datetime  # by the catalog's clock
    instances: Sequence[Instance]
    held_images: Sequence[HeldImage]
    images: Mapping[Status, int]
    blob_usage: Sequence[BlobUsage]
    restorable: int  # images in pending_delete whose delay has not ended
    restorable_bytes: int
    oldest_due_at: datetime | None  # the earliest due time of doomed blobs
    oldest: Mapping[Status, datetime] = field(default_factory=dict)  # the earliest ``since``
    tasks: Sequence[TaskCount] = ()
    held_tasks: Sequence[HeldTask] = ()
    damaged: int = 0  # images in use whose data is damaged
    warnings: Sequence[str] = ()  # of places: problems that an operator should check
