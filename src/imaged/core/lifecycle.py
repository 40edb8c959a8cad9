"""The life of an image: all statuses, all events, and the transitions.

Rule 1: no other module decides the next status.
Rule 2: a transition that is not in the table is refused, and changes nothing.
Rule 3: at most one event leads from one status to another, so a change of status identifies it.

``tests/docs`` draws the diagram in the README from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from imaged.core.errors import InvalidTransition


class Status(StrEnum):
    """The statuses of the OpenStack Image API v2."""

    QUEUED = "queued"
    SAVING = "saving"
    UPLOADING = "uploading"
    IMPORTING = "importing"
    ACTIVE = "active"
    DEACTIVATED = "deactivated"
    KILLED = "killed"
    PENDING_DELETE = "pending_delete"
    DELETED = "deleted"


class Event(StrEnum):
    """The events in the life of an image."""

    UPLOAD_BEGAN = "upload began"
    UPLOAD_SUCCEEDED = "upload succeeded"
    UPLOAD_FAILED = "upload failed"
    UPLOAD_KILLED = "upload failed for good"
    STAGING_BEGAN = "staging began"
    STAGING_FAILED = "staging failed"
    IMPORT_BEGAN = "import began"
    IMPORT_SUCCEEDED = "import succeeded"
    IMPORT_FAILED = "import failed"
    IMPORT_FAILED_STAGED = "import failed, staged data kept"
    LOCATION_ADDED = "location added"
    DEACTIVATED = "deactivated"
    REACTIVATED = "reactivated"
    DELETED = "deleted"
    DELETED_WITH_DELAY = "deleted with delay"
    SCRUBBED = "scrubbed"
    RESTORED = "restored"
    RESTORED_DEACTIVATED = "restored as deactivated"


IMAGE_TRANSITIONS: Mapping[Status, Mapping[Event, Status]] = {
    Status.QUEUED: {
        Event.UPLOAD_BEGAN: Status.SAVING,
        Event.STAGING_BEGAN: Status.UPLOADING,
        Event.IMPORT_BEGAN: Status.IMPORTING,
        Event.LOCATION_ADDED: Status.ACTIVE,
        Event.DELETED: Status.DELETED,
    },
    Status.SAVING: {
        Event.UPLOAD_SUCCEEDED: Status.ACTIVE,
        Event.UPLOAD_FAILED: Status.QUEUED,
        Event.UPLOAD_KILLED: Status.KILLED,
        Event.DELETED: Status.DELETED,
    },
    Status.UPLOADING: {
        Event.STAGING_FAILED: Status.QUEUED,
        Event.IMPORT_BEGAN: Status.IMPORTING,
        Event.DELETED: Status.DELETED,
    },
    Status.IMPORTING: {
        Event.IMPORT_SUCCEEDED: Status.ACTIVE,
        Event.IMPORT_FAILED: Status.QUEUED,
        Event.IMPORT_FAILED_STAGED: Status.UPLOADING,
        Event.DELETED: Status.DELETED,
    },
    Status.ACTIVE: {
        Event.DEACTIVATED: Status.DEACTIVATED,
        Event.DELETED: Status.DELETED,
        Event.DELETED_WITH_DELAY: Status.PENDING_DELETE,
    },
    Status.DEACTIVATED: {
        Event.REACTIVATED: Status.ACTIVE,
        Event.DELETED: Status.DELETED,
        Event.DELETED_WITH_DELAY: Status.PENDING_DELETE,
    },
    Status.KILLED: {
        Event.DELETED: Status.DELETED,
    },
    Status.PENDING_DELETE: {
        Event.SCRUBBED: Status.DELETED,
        Event.RESTORED: Status.ACTIVE,
        Event.RESTORED_DEACTIVATED: Status.DEACTIVATED,
    },
    Status.DELETED: {},
}

#: The event that restores an image, by the status before the deletion. No other status can be
#: restored.
RESTORE_EVENTS: Mapping[Status, Event] = {
    Status.ACTIVE: Event.RESTORED,
    Status.DEACTIVATED: Event.RESTORED_DEACTIVATED,
}

#: The event when claimed work ends without a result, by status. An image is claimed only in these
#: statuses: SAVING always; UPLOADING while its PUT runs; IMPORTING while a worker runs its task.
FAILURE_EVENTS: Mapping[Status, Event] = {
    Status.SAVING: Event.UPLOAD_FAILED,
    Status.UPLOADING: Event.STAGING_FAILED,
    Status.IMPORTING: Event.IMPORT_FAILED,
}

#: Only operators see images in these statuses.
GONE = frozenset({Status.PENDING_DELETE, Status.DELETED})


def next_status(status: Status, event: Event) -> Status:
    """The status after the event. Raises InvalidTransition."""
    try:
        return IMAGE_TRANSITIONS[status][event]
    except KeyError:
        raise InvalidTransition(status, event) from None


def event_between(before: Status, after: Status) -> Event:
    """The event that leads from one status to the other. Raises LookupError."""
    for event, goal in IMAGE_TRANSITIONS[before].items():
        if goal is after:
            return event
    raise LookupError(f"nothing leads from {before} to {after}")


def require_data(status: Status, action: str) -> None:
    """Raise InvalidTransition unless an image of this status has data. ``action``: "be cloned"."""
    if status not in RESTORE_EVENTS:
        raise InvalidTransition(status, action)
