"""Notifications: what other services are told of a change, in the form in which Glance tells it.

Glance's names of events and of fields are an interface that indexers and billing systems read. The
events of a change are derived from the records before and after it, as its history is
(``core/history.py``), so that no change can omit them.

Rule 1: every action of the history that a client notices has its events in ``IMAGE_EVENTS``.
Rule 2: a payload has the fields of Glance's, and no secret: no input of a task, no location.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from uuid import UUID

from imaged.core.history import ABOUT_MEMBERS, Action, action_between
from imaged.core.image import Image, Visibility
from imaged.core.member import Member, changed_member
from imaged.core.task import Task, TaskStatus


class EventType(StrEnum):
    """The events that are sent; Glance's names."""

    IMAGE_CREATE = "image.create"
    IMAGE_UPDATE = "image.update"
    IMAGE_PREPARE = "image.prepare"
    IMAGE_UPLOAD = "image.upload"
    IMAGE_ACTIVATE = "image.activate"
    IMAGE_DELETE = "image.delete"
    IMAGE_SEND = "image.send"
    IMAGE_MEMBER_CREATE = "image.member.create"
    IMAGE_MEMBER_UPDATE = "image.member.update"
    IMAGE_MEMBER_DELETE = "image.member.delete"
    TASK_CREATE = "task.create"
    TASK_PROCESSING = "task.processing"
    TASK_RUN = "task.run"
    TASK_SUCCESS = "task.success"
    TASK_FAILURE = "task.failure"
    TASK_DELETE = "task.delete"


class Priority(StrEnum):
    """How an event is marked: by what went well, or by what failed."""

    INFO = "INFO"
    ERROR = "ERROR"


@dataclass(frozen=True, slots=True)
class Notification:
    """One event for other services.

    ``queue``: events of one queue are delivered in order; those of an image, or of a task.
    """

    type: str  # an EventType, perhaps one of a newer version
    queue: str
    subject: str  # the path of what it is about, below /v2
    payload: Mapping[str, object]
    priority: Priority = Priority.INFO


#: What a catalog is told to write: without a receiver, nothing.
WantedEvents = Collection[EventType]


def matching_events(pattern: str) -> frozenset[EventType]:
    """The types that a name or a pattern such as "image.*" names."""
    return frozenset(one for one in EventType if fnmatchcase(one, pattern))


_WRITTEN = (EventType.IMAGE_UPLOAD, EventType.IMAGE_ACTIVATE, EventType.IMAGE_UPDATE)
_FAILED = (EventType.IMAGE_UPLOAD, EventType.IMAGE_UPDATE)
_CHANGED = (EventType.IMAGE_UPDATE,)

#: The events of each action, in order. Image.update follows every change of a record that exists
#: before and after it, so an indexer needs image.create, image.update and image.delete alone.
IMAGE_EVENTS: Mapping[Action, Sequence[EventType]] = {
    Action.CREATED: (EventType.IMAGE_CREATE,),  # by a task, with its data: and those of that
    Action.CHANGED: _CHANGED,
    Action.UPLOAD_STARTED: (EventType.IMAGE_UPDATE, EventType.IMAGE_PREPARE),
    Action.UPLOADED: _WRITTEN,
    Action.UPLOAD_FAILED: _FAILED,
    Action.STAGING_STARTED: _CHANGED,
    Action.STAGED: _CHANGED,
    Action.STAGING_FAILED: _CHANGED,
    Action.STAGING_EXPIRED: _CHANGED,
    Action.IMPORT_STARTED: (EventType.IMAGE_UPDATE, EventType.IMAGE_PREPARE),
    Action.IMPORTED: _WRITTEN,
    Action.IMPORT_FAILED: _FAILED,
    Action.LOCATION_ADDED: (EventType.IMAGE_ACTIVATE, EventType.IMAGE_UPDATE),
    Action.DEACTIVATED: _CHANGED,
    Action.REACTIVATED: _CHANGED,
    Action.DELETED: (EventType.IMAGE_DELETE,),
    Action.RESTORED: (EventType.IMAGE_ACTIVATE, EventType.IMAGE_UPDATE),
    Action.SCRUB_STARTED: (),  # its deletion was told
    Action.SCRUBBED: (),
    Action.MEMBER_ADDED: (EventType.IMAGE_MEMBER_CREATE,),  # the record of the image is the same
    Action.MEMBER_ANSWERED: (EventType.IMAGE_MEMBER_UPDATE,),
    Action.MEMBER_REMOVED: (EventType.IMAGE_MEMBER_DELETE,),
}

TASK_EVENTS: Mapping[TaskStatus, Sequence[EventType]] = {
    TaskStatus.PENDING: (),
    TaskStatus.PROCESSING: (EventType.TASK_PROCESSING, EventType.TASK_RUN),
    TaskStatus.SUCCESS: (EventType.TASK_SUCCESS,),
    TaskStatus.FAILURE: (EventType.TASK_FAILURE,),
}

_UPLOAD_FAILURES = frozenset({Action.UPLOAD_FAILED, Action.IMPORT_FAILED})
_TRANSFERS = frozenset({EventType.IMAGE_PREPARE, EventType.IMAGE_UPLOAD})


def image_notifications(
    before: Image | None, after: Image, at: datetime | None = None
) -> Sequence[Notification]:
    """The events of a committed change of an image, of a member of it, and of its task.

    ``before``: None for a new image. ``at``: when it was changed.
    """
    action = action_between(before, after)
    of_task = task_notifications(None if before is None else before.task, after.task)
    if action is None:
        return of_task
    types = IMAGE_EVENTS[action]
    if action in ABOUT_MEMBERS:
        member = changed_member(before.members if before else {}, after.members)
        return [_of_member(kind, after, member, at) for kind in types if member]
    if action is Action.CREATED and after.content is not None:
        types = (*types, EventType.IMAGE_UPLOAD, EventType.IMAGE_ACTIVATE)
    has_failed = action in _UPLOAD_FAILURES
    return [*(_of_image(kind, after, has_failed=has_failed) for kind in types), *of_task]


def task_notifications(before: Task | None, after: Task | None) -> Sequence[Notification]:
    """The events of a committed change of a task. ``before``: None for a new task."""
    if after is None or before is after:
        return []
    if before is None or before.id != after.id:
        return [
            _of_task(kind, after) for kind in (EventType.TASK_CREATE, *TASK_EVENTS[after.status])
        ]
    if before.status is after.status:
        return []
    return [_of_task(kind, after) for kind in TASK_EVENTS[after.status]]


def task_removed(task: Task, now: datetime) -> Notification:
    """The event of a task whose record is removed."""
    return _of_task(EventType.TASK_DELETE, task, deleted_at=now)


@dataclass(frozen=True, slots=True)
class Sent:
    """A download that has ended: how many bytes were sent to whom, of those that were requested."""

    id: UUID
    image_id: str
    owner: str
    user: str
    project: str
    sent_bytes: int
    requested_bytes: int


def image_sent(sent: Sent) -> Notification:
    """The event of a download. Its order among others means nothing: it has a queue of its own."""
    payload = {
        "bytes_sent": sent.sent_bytes,
        "image_id": sent.image_id,
        "owner_id": sent.owner,
        "receiver_tenant_id": sent.project or None,
        "receiver_user_id": sent.user or None,
    }
    priority = Priority.INFO if sent.sent_bytes == sent.requested_bytes else Priority.ERROR
    subject = f"images/{sent.image_id}"
    return Notification(EventType.IMAGE_SEND, str(sent.id), subject, payload, priority)


def _of_image(kind: EventType, image: Image, *, has_failed: bool) -> Notification:
    payload, priority = image_payload(image), Priority.INFO
    if kind is EventType.IMAGE_DELETE:
        payload |= {"deleted": True, "deleted_at": _as_text(image.updated_at)}
    if kind in _TRANSFERS:  # Glance's fields for copies to several stores
        payload |= {"os_glance_importing_to_stores": [], "os_glance_failed_import": []}
    if kind is EventType.IMAGE_PREPARE and image.locations:
        payload["backend"] = image.locations[0].store
    if kind is EventType.IMAGE_UPLOAD and has_failed:
        priority = Priority.ERROR
        payload["message"] = image.last_failure and image.last_failure.reason
    return Notification(kind, image.id, f"images/{image.id}", payload, priority)


def image_payload(image: Image) -> dict[str, object]:
    """An image in Glance's form. Sizes are in bytes, ``min_disk`` in GiB and ``min_ram`` in MiB."""
    content = image.content
    return {
        "id": image.id,
        "name": image.name,
        "status": image.status.value,
        "created_at": _as_text(image.created_at),
        "updated_at": _as_text(image.updated_at),
        "min_disk": image.min_disk_gib,
        "min_ram": image.min_ram_mib,
        "protected": image.protected,
        "checksum": content and content.checksum,
        "owner": image.owner,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": content and content.size_bytes,
        "virtual_size": content and content.virtual_size_bytes,
        "is_public": image.visibility is Visibility.PUBLIC,
        "visibility": image.visibility.value,
        "properties": dict(image.properties),
        "tags": list(image.tags),
        "deleted": False,
        "deleted_at": None,
    }


def _of_member(kind: EventType, image: Image, member: Member, at: datetime | None) -> Notification:
    is_removed = kind is EventType.IMAGE_MEMBER_DELETE
    payload = member_payload(image, member)
    payload |= {"deleted": is_removed, "deleted_at": _as_text(at) if is_removed else None}
    subject = f"images/{image.id}/members/{member.member_id}"
    return Notification(kind, image.id, subject, payload)


def member_payload(image: Image, member: Member) -> dict[str, object]:
    """A member of an image in Glance's form."""
    return {
        "image_id": image.id,
        "member_id": member.member_id,
        "status": member.status.value,
        "created_at": _as_text(member.created_at),
        "updated_at": _as_text(member.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def _of_task(kind: EventType, task: Task, deleted_at: datetime | None = None) -> Notification:
    payload = task_payload(task)
    payload |= {"deleted": deleted_at is not None, "deleted_at": _as_text(deleted_at)}
    return Notification(kind, task.id, f"tasks/{task.id}", payload)


def task_payload(task: Task) -> dict[str, object]:
    """A task in Glance's form. Its result and message are left out, as Glance leaves them out."""
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status.value,
        "result": None,
        "owner": task.owner,
        "message": None,
        "expires_at": _as_text(task.expires_at),
        "created_at": _as_text(task.created_at),
        "updated_at": _as_text(task.updated_at),
        "deleted": False,
        "deleted_at": None,
    }


def _as_text(moment: datetime | None) -> str | None:
    """A moment as the Image API writes it: UTC, whole seconds."""
    if moment is None:
        return None
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
