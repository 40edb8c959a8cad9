"""The state of the whole service at one moment, for operators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.outbox import OutboxCount
from imaged.core.task import TaskStatus

MAX_DAMAGED_LISTED = 20  # the log has all of them


@dataclass(frozen=True, slots=True)
class StoreSpace:
    """The size of a store with a limit, in bytes."""

    size_bytes: int
    free_bytes: int  # includes what must stay free
    min_free_bytes: int  # a write that would leave less free space is refused


@dataclass(frozen=True, slots=True)
class RequestCounts:
    """The requests that an instance has answered since its start, without those of probes."""

    answered: int = 0
    failed: int = 0  # with a status of 5xx
    refused: int = 0  # without a valid token (401), or not permitted (403)


@dataclass(frozen=True, slots=True)
class InstanceReport:
    """What an instance knows and the catalog cannot count, as of its last heartbeat.

    Durations end at that heartbeat; None: it did not happen since the start of the instance.
    Instances of other versions read it: a field keeps its type, or gets another name (decision 40).
    """

    spaces: Mapping[str, StoreSpace] = field(default_factory=dict)  # of stores with a limit
    #: Parts that do not answer, as /readyz names them, and for how many seconds.
    failing_part_seconds: Mapping[str, float] = field(default_factory=dict)
    reconciled_ago_seconds: float | None = None
    missing_blobs: int = 0  # found by that comparison
    reloaded_ago_seconds: float | None = None  # the last reload, successful or not
    is_reload_rejected: bool = False
    requests: RequestCounts = RequestCounts()


@dataclass(frozen=True, slots=True)
class Instance:
    """A process that works on the catalog; listed while it renews its registration."""

    id: InstanceId
    version: str
    roles: tuple[str, ...]
    started_at: datetime | None = None  # both set by the catalog, by its clock
    seen_at: datetime | None = None
    troubles: tuple[str, ...] = ()  # sentences for operators
    report: InstanceReport = field(default_factory=InstanceReport)


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
class DamagedImage:
    """An image in use whose data is damaged, and how."""

    image_id: str
    problem: str


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
    damaged_images: Sequence[DamagedImage] = ()  # MAX_DAMAGED_LISTED of them at most, by id
    restorable_since: datetime | None = None  # the first deletion of a restorable image
    warnings: Sequence[str] = ()  # of places: problems that an operator should check
    outbox: OutboxCount = field(default_factory=OutboxCount)  # events that wait for the receiver

    @property
    def doomed_blobs(self) -> int:
        """The number of blobs that are to be deleted, due or not."""
        return sum(usage.blobs for usage in self.blob_usage if usage.state is BlobState.DOOMED)

    @property
    def scrub_lag(self) -> timedelta:
        """How long the most overdue blob has been due for deletion; 0 if none is due."""
        if self.oldest_due_at is None:
            return timedelta(0)
        return max(self.at - self.oldest_due_at, timedelta(0))
