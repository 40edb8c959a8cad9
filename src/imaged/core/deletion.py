"""The changes that delete, restore and expire an image, and those that deactivate it.

The delay belongs to the image: in ``pending_delete`` it holds its bytes like an active image, and
delete and restore touch no blob. ``expire`` ends the delay.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from imaged.core.errors import (
    ActivationRefused,
    ImageDeleted,
    ImageProtected,
    InvalidTransition,
    NotPurgeable,
    NotRestorable,
)
from imaged.core.image import Change, Image
from imaged.core.lifecycle import GONE, RESTORE_EVENTS, Event, Status, next_status
from imaged.core.task import IMAGE_DELETED, cancel


def deactivate(image: Image) -> Image:
    """Forbid reading the data to all but admins. Raises ActivationRefused."""
    if image.status is Status.DEACTIVATED:
        return image
    return replace(image, status=_activation(image.status, Event.DEACTIVATED))


def reactivate(image: Image) -> Image:
    """Allow reading the data again. Raises ActivationRefused."""
    if image.status is Status.ACTIVE:
        return image
    return replace(image, status=_activation(image.status, Event.REACTIVATED))


def delete(*, delayed: bool) -> Change:
    """Delete the image: immediately, or after a delay if it has data to restore.

    Raises ImageProtected, InvalidTransition.
    """

    def change(image: Image) -> Image:
        if image.protected:
            raise ImageProtected(image.id)
        if delayed and image.status in RESTORE_EVENTS and image.locations:
            status = next_status(image.status, Event.DELETED_WITH_DELAY)
            return replace(image, status=status, deleted_from=image.status)
        status = next_status(image.status, Event.DELETED)
        task = image.task and cancel(image.task, IMAGE_DELETED)
        return replace(
            image,
            status=status,
            task=task,
            claim=None,
            locations=(),
            staged=None,
            broken_upload=None,
        )

    return change


def delete_after(delay: timedelta) -> Change:
    """Delete the image so that it can be restored for this long, if it has data to restore.

    Raises the errors of ``delete``.
    """
    change = delete(delayed=delay > timedelta(0))
    return lambda image: replace(change(image), scrub_delay=delay)


def require_undeleted(image: Image) -> None:
    """Raise ImageDeleted if the image is deleted."""
    if image.status in GONE:
        raise ImageDeleted(image.id)


def restore(image: Image) -> Image:
    """Restore the image with all its data and attributes. Raises NotRestorable."""
    if image.status is not Status.PENDING_DELETE:
        raise NotRestorable(image.id, f"it is {image.status}, not {Status.PENDING_DELETE}")
    if image.deleted_from is None:
        raise NotRestorable(image.id, "its delay has ended, and its bytes are being deleted")
    status = next_status(image.status, RESTORE_EVENTS[image.deleted_from])
    return replace(image, status=status, deleted_from=None)


def purge(image: Image) -> Image:
    """End the delay of a deleted image now, because an operator asked. Raises NotPurgeable."""
    if why := _why_not_purgeable(image):
        raise NotPurgeable(image.id, why)
    return image if image.is_expired else replace(image, deleted_from=None)


def expire(seen: Image) -> Change:
    """End the delay: from now on the image cannot be restored. Raises NotRestorable."""

    def change(image: Image) -> Image:
        if image.version != seen.version:  # restored meanwhile, perhaps even deleted again
            raise NotRestorable(image.id, "it was changed in the meantime")
        return replace(image, deleted_from=None)

    return change


def scrub_due_at(image: Image, delay: timedelta) -> datetime | None:
    """When the delay of a deleted image ends; None if it is not restorable."""
    if image.deleted_from is None or image.since is None:
        return None
    return image.since + delay


def lose_location(image: Image, key: str) -> Image:
    """Drop the location of deleted bytes; without any location left, the record is removed."""
    locations = tuple(location for location in image.locations if location.key != key)
    status = image.status if locations else next_status(image.status, Event.SCRUBBED)
    return replace(image, locations=locations, status=status)


def _why_not_purgeable(image: Image) -> str | None:
    if image.status is Status.DELETED:
        return "its bytes are deleted already, or in the next round of the scrubber"
    if image.protected:
        return "it is protected, and not deleted"
    if image.claim is not None:
        return f"it is {image.status}, and a server is working on it"
    return None if image.status is Status.PENDING_DELETE else f"it is {image.status}, not deleted"


def _activation(status: Status, event: Event) -> Status:
    try:
        return next_status(status, event)
    except InvalidTransition as error:
        raise ActivationRefused(error.status, error.event) from None
