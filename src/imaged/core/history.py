"""The history of an image: what each change did, when, on whose behalf, and with which details.

Actions and details are derived from the image before and after the change. So no change can omit
its line in the log, whose events are these actions (``image.deleted``), nor its entry in the
history that the catalog stores with the record.

Rule 1: every transition of an image has one action in ``ACTIONS``.
Rule 2: an action has only the details that ``DETAILS`` lists for it.
Rule 3: an image has at most ``HISTORY_LIMIT`` entries; the oldest are dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from imaged.core.attributes import ATTRIBUTES
from imaged.core.deletion import scrub_due_at
from imaged.core.image import Content, Image
from imaged.core.lifecycle import Event, Status, event_between
from imaged.core.limits import MIB
from imaged.core.member import changed_member
from imaged.core.task import Task

HISTORY_LIMIT = 100  # entries of an image


class Action(StrEnum):
    """What happened to an image."""

    CREATED = "created"
    CHANGED = "changed"
    UPLOAD_STARTED = "upload_started"
    UPLOADED = "uploaded"
    UPLOAD_FAILED = "upload_failed"
    STAGING_STARTED = "staging_started"
    STAGED = "staged"
    STAGING_FAILED = "staging_failed"
    STAGING_EXPIRED = "staging_expired"
    IMPORT_STARTED = "import_started"
    IMPORTED = "imported"
    IMPORT_FAILED = "import_failed"
    LOCATION_ADDED = "location_added"
    DEACTIVATED = "deactivated"
    REACTIVATED = "reactivated"
    DELETED = "deleted"
    RESTORED = "restored"
    SCRUB_STARTED = "scrub_started"
    SCRUBBED = "scrubbed"
    MEMBER_ADDED = "member_added"
    MEMBER_ANSWERED = "member_answered"
    MEMBER_REMOVED = "member_removed"

    @property
    def event(self) -> str:
        """Its event in the log."""
        return f"image.{self}"


#: The action of each event that changes the status.
ACTIONS: Mapping[Event, Action] = {
    Event.UPLOAD_BEGAN: Action.UPLOAD_STARTED,
    Event.UPLOAD_SUCCEEDED: Action.UPLOADED,
    Event.UPLOAD_FAILED: Action.UPLOAD_FAILED,
    Event.UPLOAD_KILLED: Action.UPLOAD_FAILED,
    Event.STAGING_BEGAN: Action.STAGING_STARTED,
    Event.STAGING_FAILED: Action.STAGING_FAILED,
    Event.IMPORT_BEGAN: Action.IMPORT_STARTED,
    Event.IMPORT_SUCCEEDED: Action.IMPORTED,
    Event.IMPORT_FAILED: Action.IMPORT_FAILED,
    Event.IMPORT_FAILED_STAGED: Action.IMPORT_FAILED,
    Event.LOCATION_ADDED: Action.LOCATION_ADDED,
    Event.DEACTIVATED: Action.DEACTIVATED,
    Event.REACTIVATED: Action.REACTIVATED,
    Event.DELETED: Action.DELETED,
    Event.DELETED_WITH_DELAY: Action.DELETED,
    Event.SCRUBBED: Action.SCRUBBED,
    Event.RESTORED: Action.RESTORED,
    Event.RESTORED_DEACTIVATED: Action.RESTORED,
}

#: Actions that only the owner and administrators learn of.
ABOUT_MEMBERS = frozenset({Action.MEMBER_ADDED, Action.MEMBER_ANSWERED, Action.MEMBER_REMOVED})

_WRITTEN = ("size_bytes", "duration_s", "mib_per_s")
_BROKEN_OFF = ("reason", "received_bytes", "duration_s")

#: The details of each action, if they are known.
DETAILS: Mapping[Action, tuple[str, ...]] = {
    Action.CREATED: _WRITTEN,  # an image that a task makes is created with its data
    Action.CHANGED: ("attributes",),
    Action.UPLOAD_STARTED: ("announced_bytes",),
    Action.UPLOADED: _WRITTEN,
    Action.UPLOAD_FAILED: _BROKEN_OFF,
    Action.STAGING_STARTED: ("announced_bytes",),
    Action.STAGED: _WRITTEN,
    Action.STAGING_FAILED: _BROKEN_OFF,
    Action.STAGING_EXPIRED: ("size_bytes",),
    Action.IMPORT_STARTED: (),
    Action.IMPORTED: _WRITTEN,
    Action.IMPORT_FAILED: ("reason", "duration_s"),
    Action.LOCATION_ADDED: ("size_bytes",),
    Action.DEACTIVATED: (),
    Action.REACTIVATED: (),
    Action.DELETED: ("size_bytes", "scrub_due_at"),
    Action.RESTORED: ("size_bytes",),
    Action.SCRUB_STARTED: ("size_bytes",),
    Action.SCRUBBED: ("size_bytes",),
    Action.MEMBER_ADDED: ("member_id",),
    Action.MEMBER_ANSWERED: ("member_id", "member_status"),
    Action.MEMBER_REMOVED: ("member_id",),
}


@dataclass(frozen=True, slots=True)
class Actor:
    """On whose behalf a change is made, as the log says it; nothing for a background job."""

    user_id: str | None = None
    project_id: str | None = None
    peer: str | None = None  # the address of the client, or of the proxy before it
    request_id: str | None = None

    @classmethod
    def of(cls, bound: Mapping[str, str | None]) -> Actor:
        """The actor in the bound fields of the log."""
        return cls(*(bound.get(name) for name in cls.__slots__))


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of an image."""

    number: int  # the version of the image after it
    at: datetime  # by the catalog's clock
    action: str  # perhaps one of a newer version
    actor: Actor
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ImageHistory:
    """An image, and its last entries, the oldest first.

    ``unreadable``: why each entry that the catalog can no longer read is missing among them.
    """

    image: Image
    entries: Sequence[HistoryEntry]
    unreadable: Sequence[str] = ()
    scrub_due_at: datetime | None = None  # while it can be restored; by the delay configured now


def entry_of(before: Image | None, after: Image, by: Actor, at: datetime) -> HistoryEntry | None:
    """The entry of a change that the catalog has dated; None if its owner cannot notice it.

    ``before``: None for a new image. ``at``: when, by the catalog's clock.
    """
    action = action_between(before, after)
    if action is None:
        return None
    details = details_of(action, before, after)
    return HistoryEntry(after.version, at, action.value, by, details)


def action_between(before: Image | None, after: Image) -> Action | None:
    """What a change did; None if its owner cannot notice it, and for a draft.

    ``before``: None for a new image.
    """
    if after.draft:
        return None
    if before is None or before.draft:
        return Action.CREATED
    if after.status is not before.status:
        event = event_between(before.status, after.status)
        if event is Event.STAGING_FAILED and before.claim is None:
            return Action.STAGING_EXPIRED  # no work on it was broken off
        return ACTIONS[event]
    return _action_within_status(before, after)


def starts_staging(before: Image, after: Image) -> bool:
    """Whether new bytes are being staged, perhaps instead of those staged before."""
    return after.status is Status.UPLOADING and after.claim is not None and before.claim is None


def details_of(action: Action, before: Image | None, after: Image) -> dict[str, object]:
    """The details of a change that the catalog has dated, as JSON has them."""
    size_bytes, duration = _size_bytes(before, after), _duration(before, after)
    member = before and changed_member(before.members, after.members)
    known: dict[str, object] = {
        "announced_bytes": _announced_bytes(after),
        "attributes": before and _changed_attributes(before, after),
        "duration_s": duration and round(duration.total_seconds(), 3),
        "member_id": member and member.member_id,
        "member_status": member and member.status.value,
        "mib_per_s": duration and size_bytes and _mib_per_s(size_bytes, duration),
        "reason": after.last_failure and after.last_failure.reason,
        "received_bytes": after.broken_upload and after.broken_upload.received_bytes,
        "scrub_due_at": _scrub_due_at(after),
        "size_bytes": size_bytes,
    }
    return {name: known[name] for name in DETAILS[action] if known[name] is not None}


def task_at(before: Image | None, after: Image) -> Task | None:
    """The task that the change was a step of."""
    for image in (before, after):
        if image is not None and image.status is Status.IMPORTING:
            return image.task
    return None


def _action_within_status(before: Image, after: Image) -> Action | None:
    if after.is_expired and not before.is_expired:
        return Action.SCRUB_STARTED
    if starts_staging(before, after):
        return Action.STAGING_STARTED
    if after.staged_content is not None and before.staged_content is None:
        return Action.STAGED
    if _changed_attributes(before, after):
        return Action.CHANGED
    return _action_on_members(before, after)


def _action_on_members(before: Image, after: Image) -> Action | None:
    if after.members == before.members:
        return None
    if after.members.keys() == before.members.keys():
        return Action.MEMBER_ANSWERED
    is_more = len(after.members) > len(before.members)
    return Action.MEMBER_ADDED if is_more else Action.MEMBER_REMOVED


def _changed_attributes(before: Image, after: Image) -> list[str]:
    """The attributes that clients write and that differ, by the names of the API."""
    changed = [
        attribute.name
        for attribute in ATTRIBUTES.values()
        if attribute.field and getattr(before, attribute.field) != getattr(after, attribute.field)
    ]
    return changed if after.properties == before.properties else [*changed, "properties"]


def _announced_bytes(after: Image) -> int | None:
    """The length of the data that is being received; None if it was not announced."""
    location = after.staged or next(iter(after.locations), None)
    return None if location is None else location.size_bytes or None


def _size_bytes(before: Image | None, after: Image) -> int | None:
    content: Content | None = after.content or after.staged_content
    if content is None and before is not None:
        content = before.content or before.staged_content
    return None if content is None else content.size_bytes


def _duration(before: Image | None, after: Image) -> timedelta | None:
    """How long the work took that the change ended: an upload, or the last attempt at an import.
    None if it is unknown, also because the clock was set back meanwhile.
    """
    if before is None or after.updated_at is None:
        return None
    if before.status is not Status.IMPORTING:
        began_at = before.since
    else:
        began_at = None if before.task is None else before.task.begun_at
    if began_at is None or began_at >= after.updated_at:
        return None
    return after.updated_at - began_at


def _mib_per_s(size_bytes: int, duration: timedelta) -> float:
    return round(size_bytes / MIB / duration.total_seconds(), 1)


def _scrub_due_at(after: Image) -> str | None:
    """When the delay ends that was configured at the deletion."""
    due_at = None if after.scrub_delay is None else scrub_due_at(after, after.scrub_delay)
    if due_at is None:
        return None
    return due_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
