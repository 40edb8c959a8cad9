"""The image: what is true of it at one moment.

How it changes is told in ``writing.py`` (how it gets its data), ``removal.py`` (how it goes)
and ``edits.py`` (what its owner writes on it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from imaged.core.claim import Claim
from imaged.core.lifecycle import Status
from imaged.core.task import Task


class Visibility(StrEnum):
    """Who may see an image besides its owner."""

    PRIVATE = "private"
    SHARED = "shared"
    COMMUNITY = "community"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class Location:
    """Where bytes are, or are going."""

    store: str
    key: str  # of one attempt, never used again
    size_bytes: int  # reserved while being written, exact afterwards


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of an image's bytes once they are complete."""

    size_bytes: int
    checksum: str  # md5, hexadecimal
    hash_algorithm: str
    hash_value: str  # hexadecimal
    virtual_size_bytes: int | None = None  # of the disk inside, where its format tells
    notice: str | None = None  # for its owner: why it may not be what was meant
    #: Of its blocks (``core/block_checksums.py``), where they were just computed. The catalog keeps
    #: them beside the image, and no image that it returns has them.
    block_checksums: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the last upload or import failed."""

    phase: str
    reason: str  # one sentence, for the image's owner
    at: datetime | None = None  # by the catalog's clock, which fills it in


@dataclass(frozen=True, slots=True)
class BrokenUpload:
    """What had come of a body that never became the image's data: the next one must begin so.

    It is written while the body comes, because a process may die at any moment.
    """

    announced_bytes: int | None  # None: the body came in chunks, without a length
    received_bytes: int
    checksum: str  # md5 of the bytes that had come, hexadecimal
    at: datetime | None = None  # by the catalog's clock, which fills it in
    refused_bytes: int | None = None  # of the first body that was refused as perhaps the rest


@dataclass(frozen=True, slots=True)
class Formats:
    """What an image says that its bytes are."""

    disk: str | None
    container: str | None

    def __str__(self) -> str:
        return f"{self.disk} in {self.container}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image, with everything that must change together."""

    id: str
    owner: str
    # what its owner writes on it
    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    hidden: bool = False
    min_ram_mib: int = 0
    min_disk_gib: int = 0
    tags: tuple[str, ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)
    # where it is in its life
    draft: bool = False  # its task has not made it yet: it exists for nobody
    status: Status = Status.QUEUED
    since: datetime | None = None  # when it entered this status, by the catalog's clock
    deleted_from: Status | None = None  # set while it can be restored
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0
    # its data, and the work on it
    content: Content | None = None
    locations: tuple[Location, ...] = ()
    staged: Location | None = None
    staged_content: Content | None = None  # what was staged, once that is complete
    claim: Claim | None = None
    finished_by: UUID | None = None  # the last claim whose work was finished
    task: Task | None = None  # that is writing it, exactly while it is importing
    last_failure: Failure | None = None
    broken_upload: BrokenUpload | None = None  # None: nothing is remembered
    damage: str | None = None  # what the last verification found wrong; for the operator

    @property
    def is_expired(self) -> bool:
        """Nobody can restore it; its record waits for its bytes to go."""
        return self.status is Status.PENDING_DELETE and self.deleted_from is None

    @property
    def formats(self) -> Formats:
        """Both, as its bytes are judged by them."""
        return Formats(self.disk_format, self.container_format)

    @property
    def held(self) -> dict[str, Location]:
        """The bytes that must stay because of this image, by key."""
        if self.is_expired:
            return {}
        staged = () if self.staged is None else (self.staged,)
        return {location.key: location for location in (*self.locations, *staged)}

    @property
    def charge_bytes(self) -> int:
        """What its owner's quota counts: written, staged, or being written.

        What is staged and what an import makes of it are the same data, and count once: as much as
        the larger of the two.
        """
        staged_bytes = 0 if self.staged is None else self.staged.size_bytes
        held_bytes = sum(location.size_bytes for location in self.held.values())
        return max(staged_bytes, held_bytes - staged_bytes) if held_bytes else 0


Change = Callable[[Image], Image]
ClaimedChange = Callable[[Image, Claim], Image]  # a change only a claim's holder can make
