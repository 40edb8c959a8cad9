"""The changes by which an image goes, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from imaged.core.deletion import (
    deactivate,
    delete,
    expire,
    lose_location,
    purge,
    reactivate,
    restore,
)
from imaged.core.errors import (
    ActivationRefused,
    ImageProtected,
    InvalidTransition,
    NotPurgeable,
    NotRestorable,
)
from imaged.core.image import Image
from imaged.core.lifecycle import IMAGE_TRANSITIONS, Event, Status
from imaged.core.task import TaskStatus
from support.sample_images import (
    active,
    expired,
    importing,
    in_status,
    location,
    pending_delete,
)

RESTORABLE = [active(), deactivate(active())]


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize(
    ("change", "before", "after"),
    [
        (deactivate, Status.ACTIVE, Status.DEACTIVATED),
        (reactivate, Status.DEACTIVATED, Status.ACTIVE),
    ],
)
def test_deactivating_and_reactivating(
    change: Callable[[Image], Image], before: Status, after: Status, status: Status
) -> None:
    """The one leads to the other's beginning; what is so already stays; others are refused."""
    image = in_status(status)

    if status is after:
        assert change(image) is image
    elif status is before:
        assert change(image) == replace(image, status=after)
    else:
        with pytest.raises(ActivationRefused):
            change(image)


@pytest.mark.parametrize("status", list(Status))
def test_deleting_at_once(status: Status) -> None:
    """Where the table allows it, nothing is left: no data, no work."""
    image = in_status(status)

    if Event.DELETED in IMAGE_TRANSITIONS[status]:
        gone = delete(delayed=False)(image)
        assert gone.status is Status.DELETED
        assert gone.held == {}
        assert gone.claim is None
    else:
        with pytest.raises(InvalidTransition):
            delete(delayed=False)(image)


@pytest.mark.parametrize("status", list(Status))
def test_purging(status: Status) -> None:
    """A deleted image that waits for its delay waits no longer; any other is refused, with the
    reason.
    """
    image = in_status(status)

    if status is Status.PENDING_DELETE:
        assert purge(image) == expired()
    else:
        with pytest.raises(NotPurgeable, match=r"deleted already|not deleted|is working on it"):
            purge(image)


def test_a_protected_image_is_not_purged() -> None:
    """The reason names the protection."""
    with pytest.raises(NotPurgeable, match="protected"):
        purge(replace(active(), protected=True))


def test_purging_twice_changes_nothing() -> None:
    """Its bytes are being deleted already."""
    image = expired()

    assert purge(image) is image


@pytest.mark.parametrize("image", RESTORABLE)
def test_deleting_with_a_delay_keeps_everything(image: Image) -> None:
    """The image waits, with all that it had, and knows where it came from."""
    waiting = delete(delayed=True)(image)

    assert waiting == replace(image, status=Status.PENDING_DELETE, deleted_from=image.status)


@pytest.mark.parametrize("image", RESTORABLE)
def test_restoring_undoes_a_delete(image: Image) -> None:
    """What comes back is exactly what went."""
    assert restore(delete(delayed=True)(image)) == image


@pytest.mark.parametrize(
    "image",
    [
        *map(
            in_status,
            [Status.QUEUED, Status.SAVING, Status.UPLOADING, Status.IMPORTING, Status.KILLED],
        ),
        replace(active(), locations=()),
    ],
    ids=lambda image: image.status,
)
@pytest.mark.rule("ledger.6")
def test_an_image_without_complete_bytes_never_waits(image: Image) -> None:
    """There is nothing to restore, so it goes at once, delay or not."""
    assert delete(delayed=True)(image).status is Status.DELETED


@pytest.mark.parametrize("delayed", [True, False])
def test_a_protected_image_is_not_deleted(delayed: bool) -> None:
    """Protection is stronger than any delete."""
    with pytest.raises(ImageProtected):
        delete(delayed=delayed)(replace(active(), protected=True))


def test_deleting_ends_the_task() -> None:
    """A task whose image goes is cancelled and says so."""
    gone = delete(delayed=False)(importing())

    assert gone.task is not None
    assert gone.task.status is TaskStatus.FAILURE
    assert gone.task.message == "The image was deleted."


@pytest.mark.parametrize(
    ("image", "why"),
    [
        *((in_status(status), status) for status in Status if status != "pending_delete"),
        (expired(), "its delay has ended"),
    ],
)
def test_only_what_waits_is_restored(image: Image, why: str) -> None:
    """An image that was not deleted, or is gone, is not restored; nor one whose bytes may go."""
    with pytest.raises(NotRestorable, match=why):
        restore(image)


def test_expiring_ends_the_wait() -> None:
    """The image still waits for its bytes to go, and for nothing else."""
    waiting = pending_delete()

    assert expire(waiting)(waiting) == replace(waiting, deleted_from=None)


def test_an_image_that_changed_does_not_expire() -> None:
    """Restored, and even deleted again: its delay began anew."""
    seen = pending_delete()

    with pytest.raises(NotRestorable):
        expire(seen)(replace(seen, version=seen.version + 2))


def test_the_image_goes_with_its_last_bytes() -> None:
    """Losing one of two locations leaves it waiting; losing the last one ends it."""
    image = replace(expired(), locations=(location("first"), location("second")))

    once = lose_location(image, "first")
    twice = lose_location(once, "second")

    assert (once.status, once.locations) == (Status.PENDING_DELETE, (location("second"),))
    assert (twice.status, twice.locations) == (Status.DELETED, ())
    assert lose_location(image, "a key of another image") == image
