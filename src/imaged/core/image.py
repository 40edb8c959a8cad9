"""The image: its state at one moment.

Its changes are in ``uploading.py`` (data), ``deletion.py`` (deletion) and ``edits.py``
(attributes).

Both formats may be patched while an import runs. Therefore the change that publishes the data
compares the inspected formats with the locked record and fails if they differ: a patch is always
allowed, and never publishes data that was inspected as another format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from imaged.core.claim import Claim
from imaged.core.errors import FormatsChanged, FormatsUnset
from imaged.core.lifecycle import Status
from imaged.core.member import Member
from imaged.core.task import Task


class Visibility(StrEnum):
    """Which callers besides the owner may see an image."""

    PRIVATE = "private"
    SHARED = "shared"
    COMMUNITY = "community"
    PUBLIC = "public"


#: A property is a string, or of another type if the operator describes it so (``image_schema.py``).
PropertyValue = str | int | float | bool | None


def property_text(value: PropertyValue) -> str | None:
    """The text by which lists are filtered; None: null, which no filter finds."""
    match value:
        case None | str():
            return value
        case bool():
            return str(value).lower()
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Location:
    """The store and key of bytes that exist or are being written."""

    store: str
    key: str  # of one attempt, never reused
    size_bytes: int  # reserved while writing, exact afterwards


@dataclass(frozen=True, slots=True)
class Content:
    """What is known of an image's bytes once they are complete."""

    size_bytes: int
    checksum: str | None  # md5, hexadecimal; None if it was not computed (uploads.checksum)
    hash_algorithm: str
    hash_value: str  # hexadecimal
    virtual_size_bytes: int | None = None  # of the disk inside, if its format has it
    notice: str | None = None  # for its owner: why it may not be the intended data
    #: Checksums of its blocks (``core/integrity.py``), if just computed. The catalog stores
    #: them separately, and images that it returns do not have them.
    block_checksums: bytes = field(default=b"", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason of the last failed upload or import."""

    phase: str
    reason: str  # one sentence, for the image's owner
    at: datetime | None = None  # set by the catalog, by its clock


@dataclass(frozen=True, slots=True)
class BrokenUpload:
    """The record of a broken upload: a retry must begin with the same bytes.

    It is updated while the body is received, because a process may be killed at any moment.
    """

    announced_bytes: int | None  # None: the body was sent in chunks, without a length
    received_bytes: int
    checksum: str  # md5 of the received bytes, hexadecimal, or ALGORITHM:hexadecimal
    at: datetime | None = None  # set by the catalog, by its clock
    refused_bytes: int | None = None  # length of the first body refused as possibly the rest


@dataclass(frozen=True, slots=True)
class Formats:
    """The declared formats of an image's data."""

    disk: str | None
    container: str | None

    def __str__(self) -> str:
        return f"{self.disk} in {self.container}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image, with all the fields that must change together."""

    id: str
    owner: str
    # Attributes that its owner writes.
    name: str | None = None
    disk_format: str | None = None
    container_format: str | None = None
    visibility: Visibility = Visibility.SHARED
    protected: bool = False
    hidden: bool = False
    min_ram_mib: int = 0
    min_disk_gib: int = 0
    tags: tuple[str, ...] = ()
    properties: Mapping[str, PropertyValue] = field(default_factory=dict)
    #: The projects with which it is shared, by their ids. They count only while it is ``SHARED``,
    #: and stay for when it is again. Images of a list do not have them: read the image.
    members: Mapping[str, Member] = field(default_factory=dict)
    # Its status.
    draft: bool = False  # its task has not completed it yet, and no caller sees it
    status: Status = Status.QUEUED
    since: datetime | None = None  # start of this status, by the catalog's clock
    deleted_from: Status | None = None  # set while it can be restored
    #: The delay configured when it was deleted, for its history. The delay that counts is the one
    #: configured now, so the catalog does not store this one.
    scrub_delay: timedelta | None = field(default=None, compare=False)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    version: int = 0
    # Its data, and the work on it.
    content: Content | None = None
    locations: tuple[Location, ...] = ()
    staged: Location | None = None
    staged_content: Content | None = None  # of the staged data, once it is complete
    claim: Claim | None = None
    #: Of a claim that writes a body of unknown length: the bytes that were reserved beyond those
    #: received by then. None: its length is known.
    ahead_bytes: int | None = None
    finished_by: UUID | None = None  # the last claim whose work was completed
    task: Task | None = None  # that writes it; set exactly while it is importing
    last_failure: Failure | None = None
    broken_upload: BrokenUpload | None = None  # None: no broken upload is recorded
    damage: str | None = None  # found by the last verification; for operators

    @property
    def is_expired(self) -> bool:
        """Whether it cannot be restored any more; the record waits until its bytes are deleted."""
        return self.status is Status.PENDING_DELETE and self.deleted_from is None

    def is_shared_with(self, project: str) -> bool:
        """Whether the project is one of its members, whatever its answer, and that counts now."""
        return self.visibility is Visibility.SHARED and project in self.members

    @property
    def formats(self) -> Formats:
        """Both declared formats, as which its data is inspected."""
        return Formats(self.disk_format, self.container_format)

    @property
    def held(self) -> dict[str, Location]:
        """The locations that must be kept because of this image, by key."""
        if self.is_expired:
            return {}
        staged = () if self.staged is None else (self.staged,)
        return {location.key: location for location in (*self.locations, *staged)}

    @property
    def charge_bytes(self) -> int:
        """The bytes that count against its owner's quota: stored, staged, or being written.

        Staged data and the image that an import makes of it are the same data, so only the larger
        of the two counts.
        """
        staged_bytes = 0 if self.staged is None else self.staged.size_bytes
        held_bytes = sum(location.size_bytes for location in self.held.values())
        return max(staged_bytes, held_bytes - staged_bytes) if held_bytes else 0


Change = Callable[[Image], Image]
ClaimedChange = Callable[[Image, Claim], Image]  # only the holder of a claim can make it


def require_formats_declared(image: Image) -> None:
    """Raise FormatsUnset unless both formats are set."""
    if image.disk_format is None or image.container_format is None:
        raise FormatsUnset


def require_formats_unchanged(image: Image, judged: Formats) -> None:
    """Raise FormatsChanged if the image's formats differ from those as which its data was
    inspected.
    """
    if image.formats != judged:
        raise FormatsChanged(str(judged), str(image.formats))


def unless_formats_changed(judged: Formats, finish: ClaimedChange) -> ClaimedChange:
    """The finishing change for data that was inspected as these formats. Raises FormatsChanged."""

    def change(image: Image, claim: Claim) -> Image:
        finished = finish(image, claim)  # ClaimLost takes precedence
        require_formats_unchanged(image, judged)
        return finished

    return change
