"""The state of the whole, as an operator wants to see it at a glance."""

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
    """A process that works on the catalog; known as long as it says so."""

    id: InstanceId
    version: str
    roles: tuple[str, ...]
    started_at: datetime | None = None  # by the catalog's clock, which fills both in
    seen_at: datetime | None = None
    troubles: tuple[str, ...] = ()  # sentences for operators


@dataclass(frozen=True, slots=True)
class HeldImage:
    """An image that an instance works on."""

    instance: InstanceId
    image_id: str
    status: Status
    since: datetime
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class BlobUsage:
    """The bytes of one state in one store."""

    store: str
    state: BlobState
    blobs: int
    size_bytes: int
    failing: int = 0  # whose deletion failed at least once


@dataclass(frozen=True, slots=True)
class TaskCount:
    """The tasks of one type in one status."""

    type: str
    status: TaskStatus
    tasks: int
    oldest_at: datetime  # when the oldest of them was made


@dataclass(frozen=True, slots=True)
class HeldTask:
    """A task that an instance works on."""

    instance: InstanceId
    task_id: str
    type: str
    owner: str
    since: datetime  # when the attempt began
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class Summary:
    """All of it, at one moment."""

    at: datetime  # by the catalog's clock
    instances: Sequence[Instance]
    holdings: Sequence[HeldImage]
    images: Mapping[Status, int]
    stocks: Sequence[BlobUsage]
    restorable: int  # images in pending_delete that wait for the end of their delay
    restorable_bytes: int
    oldest_due_at: datetime | None  # the longest due among doomed blobs
    oldest: Mapping[Status, datetime] = field(default_factory=dict)  # there since when, at longest
    tasks: Sequence[TaskCount] = ()
    task_holdings: Sequence[HeldTask] = ()
    damaged: int = 0  # images in use whose bytes are not what they were
    warnings: Sequence[str] = ()  # of places: what an operator should look at
