"""The changes by which an image goes, and comes back: delete, restore, expire.

The delay belongs to the image: while it waits in ``pending_delete`` it holds its bytes like an
active image, and delete and restore touch no blob. ``expire`` ends that.
"""

from __future__ import annotations

from dataclasses import replace

from imaged.core.errors import (
    ActivationRefused,
    ImageDeleted,
    ImageProtected,
    InvalidTransition,
    NotRestorable,
)
from imaged.core.image import Change, Image
from imaged.core.lifecycle import GONE, RESTORE_EVENTS, Event, Status, next_status
from imaged.core.task import IMAGE_DELETED, cancel


def deactivate(image: Image) -> Image:
    """Forbid its data to all but admins. Raises ActivationRefused."""
    if image.status is Status.DEACTIVATED:
        return image
    return replace(image, status=_activation(image.status, Event.DEACTIVATED))


def reactivate(image: Image) -> Image:
    """Allow its data again. Raises ActivationRefused."""
    if image.status is Status.ACTIVE:
        return image
    return replace(image, status=_activation(image.status, Event.REACTIVATED))


def delete(*, delayed: bool) -> Change:
    """Take it from its users: with a delay where there is something to restore, or at once.

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


def require_undeleted(image: Image) -> None:
    """Raise ImageDeleted if the image is gone for its users."""
    if image.status in GONE:
        raise ImageDeleted(image.id)


def restore(image: Image) -> Image:
    """Take it back, with everything that it had. Raises NotRestorable."""
    if image.status is not Status.PENDING_DELETE:
        raise NotRestorable(image.id, f"it is {image.status}, not {Status.PENDING_DELETE}")
    if image.deleted_from is None:
        raise NotRestorable(image.id, "its time was over, and its bytes are being deleted")
    status = next_status(image.status, RESTORE_EVENTS[image.deleted_from])
    return replace(image, status=status, deleted_from=None)


def expire(seen: Image) -> Change:
    """Its delay is over: from here on nobody can restore it. Raises NotRestorable."""

    def change(image: Image) -> Image:
        if image.version != seen.version:  # restored meanwhile, perhaps even deleted again
            raise NotRestorable(image.id, "it was changed meanwhile")
        return replace(image, deleted_from=None)

    return change


def lose_location(image: Image, key: str) -> Image:
    """The bytes are gone; with the last of them goes the image."""
    locations = tuple(location for location in image.locations if location.key != key)
    status = image.status if locations else next_status(image.status, Event.SCRUBBED)
    return replace(image, locations=locations, status=status)


def _activation(status: Status, event: Event) -> Status:
    try:
        return next_status(status, event)
    except InvalidTransition as error:
        raise ActivationRefused(error.status, error.event) from None
