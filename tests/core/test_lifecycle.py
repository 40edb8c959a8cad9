"""The table of the life of an image: what is listed happens, all else is refused."""

from __future__ import annotations

from itertools import product

import pytest

from imaged.core.errors import InvalidTransition
from imaged.core.lifecycle import (
    FAILURE_EVENTS,
    GONE,
    IMAGE_TRANSITIONS,
    RESTORE_EVENTS,
    Event,
    Status,
    event_between,
    next_status,
)

#: Everything that can happen, written out once more.
LIFE = {
    ("queued", "upload began", "saving"),
    ("saving", "upload succeeded", "active"),
    ("saving", "upload failed", "queued"),
    ("saving", "upload failed for good", "killed"),
    ("queued", "staging began", "uploading"),
    ("uploading", "staging failed", "queued"),
    ("queued", "import began", "importing"),
    ("uploading", "import began", "importing"),
    ("importing", "import succeeded", "active"),
    ("importing", "import failed", "queued"),
    ("importing", "import failed, staged data kept", "uploading"),
    ("queued", "location added", "active"),
    ("active", "deactivated", "deactivated"),
    ("deactivated", "reactivated", "active"),
    ("queued", "deleted", "deleted"),
    ("saving", "deleted", "deleted"),
    ("uploading", "deleted", "deleted"),
    ("importing", "deleted", "deleted"),
    ("killed", "deleted", "deleted"),
    ("active", "deleted", "deleted"),
    ("deactivated", "deleted", "deleted"),
    ("active", "deleted with delay", "pending_delete"),
    ("deactivated", "deleted with delay", "pending_delete"),
    ("pending_delete", "scrubbed", "deleted"),
    ("pending_delete", "restored", "active"),
    ("pending_delete", "restored as deactivated", "deactivated"),
}


def test_the_table_is_the_one_agreed() -> None:
    """It lists exactly these steps; clients know no other status, and no event is in vain."""
    listed = {
        (str(status), str(event), str(goal))
        for status, row in IMAGE_TRANSITIONS.items()
        for event, goal in row.items()
    }

    assert listed == LIFE
    assert {name for start, _, goal in LIFE for name in (start, goal)} == set(Status)
    assert {event for _, event, _ in LIFE} == set(Event)


@pytest.mark.parametrize(("status", "event"), list(product(Status, Event)))
def test_every_pair_of_status_and_event(status: Status, event: Event) -> None:
    """A listed pair leads to its goal; any other is refused and says what was tried."""
    goals = [goal for start, step, goal in LIFE if (start, step) == (status, event)]

    if goals:
        assert goals == [next_status(status, event)]
    else:
        with pytest.raises(InvalidTransition) as refusal:
            next_status(status, event)
        assert (status, event) == (refusal.value.status, refusal.value.event)


@pytest.mark.parametrize(("before", "after"), list(product(Status, Status)))
def test_a_change_of_status_names_its_event(before: Status, after: Status) -> None:
    """Between two statuses there is one event at most, and it is found."""
    events = [step for start, step, goal in LIFE if (start, goal) == (before, after)]

    if events:
        assert events == [event_between(before, after)]
    else:
        with pytest.raises(LookupError):
            event_between(before, after)


@pytest.mark.parametrize(("origin", "event"), list(RESTORE_EVENTS.items()))
def test_restoring_leads_back(origin: Status, event: Event) -> None:
    """An image comes back in the status that it was deleted from."""
    assert next_status(Status.PENDING_DELETE, event) is origin


def test_restorable_statuses() -> None:
    """Exactly the statuses that enter pending_delete have a way back."""
    entering = {
        status for status, row in IMAGE_TRANSITIONS.items() if Status.PENDING_DELETE in row.values()
    }

    assert entering == set(RESTORE_EVENTS)


@pytest.mark.parametrize(("status", "event"), list(FAILURE_EVENTS.items()))
def test_failed_work_leads_back_to_queued(status: Status, event: Event) -> None:
    """Claimed work that ends without a result leaves an image that takes data again."""
    assert next_status(status, event) is Status.QUEUED


def test_images_are_claimed_while_data_comes() -> None:
    """Only the statuses in which data is written can be claimed."""
    assert {"saving", "uploading", "importing"} == set(FAILURE_EVENTS)


def test_gone_is_gone_for_users() -> None:
    """Users never see images in these statuses."""
    assert {"pending_delete", "deleted"} == GONE
