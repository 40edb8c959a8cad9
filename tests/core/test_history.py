"""What a change did to an image: one action each, with the details that its owner asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from imaged.core import ledger
from imaged.core.broken_upload import note_received
from imaged.core.deletion import deactivate, delete_after, expire, reactivate, restore
from imaged.core.growth import reserve
from imaged.core.history import ACTIONS, DETAILS, Action, action_between, details_of
from imaged.core.image import BrokenUpload, Image, Visibility
from imaged.core.lifecycle import Event, Status
from imaged.core.limits import MIB
from imaged.core.member import Member, MemberStatus
from imaged.core.sharing import add_member, answer, remove_member
from imaged.core.task import cancel
from imaged.core.uploading import (
    begin_import,
    begin_staging,
    change_task,
    give_back,
    share_data,
    stage_data,
    store_data,
    unstage,
)
from support.callers import OWNER, STRANGER
from support.sample_images import (
    NOW,
    REASON,
    active,
    attempt_at,
    claim,
    content,
    draft,
    expired,
    importing,
    location,
    pending_delete,
    queued,
    saving,
    staged,
    task,
    uploading,
)

HOUR = timedelta(hours=1)
SIZE: dict[str, object] = {"size_bytes": 100}
BROKEN_OFF: dict[str, object] = {"reason": REASON, "received_bytes": 0}
STAGED = staged()
IMPORTING = attempt_at(location("second"))(begin_import(task())(STAGED), claim(2))
MAKING = attempt_at(location())(draft(), claim())
SHARED = replace(active(), members={"p2": Member("p2", created_at=NOW, updated_at=NOW)})
GAVE_UP = give_back(claim(), REASON, final=True)(saving())

#: What happened, by the image before and after it, and the details besides durations.
CHANGES: dict[str, tuple[Image | None, Image, Action | None, dict[str, object]]] = {
    "a new image": (None, queued(), Action.CREATED, {}),
    "a new draft": (None, draft(), None, {}),
    "a finished draft": (
        MAKING,
        store_data(content())(MAKING, claim()),
        Action.CREATED,
        SIZE,
    ),
    "a failed draft": (MAKING, change_task(lambda it: cancel(it, REASON))(MAKING), None, {}),
    "an upload": (queued(), saving(), Action.UPLOAD_STARTED, {"announced_bytes": 100}),
    "an upload in chunks": (
        queued(),
        saving(where=location(size_bytes=0)),
        Action.UPLOAD_STARTED,
        {},
    ),
    "a longer upload": (saving(), reserve(200)(saving(), claim()), None, {}),
    "a finished upload": (saving(), active(), Action.UPLOADED, SIZE),
    "a failed upload": (saving(), GAVE_UP, Action.UPLOAD_FAILED, BROKEN_OFF),
    "a killed upload": (
        saving(),
        give_back(claim(), REASON, final=True, kill=True)(saving()),
        Action.UPLOAD_FAILED,
        BROKEN_OFF,
    ),
    "staging": (queued(), uploading(), Action.STAGING_STARTED, {"announced_bytes": 100}),
    "staged": (uploading(), STAGED, Action.STAGED, SIZE),
    "staging again": (
        STAGED,
        begin_staging(location("third", 50), replaces=True)(STAGED, claim(3)),
        Action.STAGING_STARTED,
        {"announced_bytes": 50},
    ),
    "failed staging": (
        uploading(),
        give_back(claim(), REASON, final=True)(uploading()),
        Action.STAGING_FAILED,
        BROKEN_OFF,
    ),
    "staged in vain": (STAGED, unstage(STAGED)(STAGED), Action.STAGING_EXPIRED, SIZE),
    "an import": (STAGED, begin_import(task())(STAGED), Action.IMPORT_STARTED, {}),
    "a worker picks it up": (importing(), attempt_at(location())(importing(), claim()), None, {}),
    "a finished import": (
        IMPORTING,
        store_data(content())(IMPORTING, claim(2)),
        Action.IMPORTED,
        SIZE,
    ),
    "a failed import": (
        importing(),
        change_task(lambda it: cancel(it, REASON))(importing()),
        Action.IMPORT_FAILED,
        {"reason": REASON},
    ),
    "a failed import of staged data": (
        IMPORTING,
        give_back(claim(2), REASON, final=True)(IMPORTING),
        Action.IMPORT_FAILED,
        {"reason": REASON},
    ),
    "an import that waits again": (
        IMPORTING,
        give_back(claim(2), REASON, final=False)(IMPORTING),
        None,
        {},
    ),
    "a location": (queued(), share_data(active())(queued()), Action.LOCATION_ADDED, SIZE),
    "deactivated": (active(), deactivate(active()), Action.DEACTIVATED, {}),
    "reactivated": (deactivate(active()), reactivate(deactivate(active())), Action.REACTIVATED, {}),
    "deleted without data": (queued(), delete_after(HOUR)(queued()), Action.DELETED, {}),
    "deleted at once": (active(), delete_after(timedelta(0))(active()), Action.DELETED, SIZE),
    "deleted with a delay": (
        active(),
        delete_after(HOUR)(active()),
        Action.DELETED,
        {**SIZE, "scrub_due_at": "2026-11-20T13:00:00Z"},
    ),
    "restored": (pending_delete(), restore(pending_delete()), Action.RESTORED, SIZE),
    "expired": (
        pending_delete(),
        expire(pending_delete())(pending_delete()),
        Action.SCRUB_STARTED,
        SIZE,
    ),
    "scrubbed": (expired(), ledger.settle_scrubbed(expired(), "first", NOW), Action.SCRUBBED, SIZE),
    "attributes": (
        active(),
        replace(
            active(),
            name="n",
            hidden=True,
            visibility=Visibility.PUBLIC,
            properties={"os_distro": "debian"},
        ),
        Action.CHANGED,
        {"attributes": ["name", "visibility", "os_hidden", "properties"]},
    ),
    "a member more": (
        SHARED,
        add_member(OWNER, "p3", None)(SHARED),
        Action.MEMBER_ADDED,
        {"member_id": "p3"},
    ),
    "an answer": (
        SHARED,
        answer(STRANGER, "p2", MemberStatus.REJECTED)(SHARED),
        Action.MEMBER_ANSWERED,
        {"member_id": "p2", "member_status": "rejected"},
    ),
    "a member less": (
        SHARED,
        remove_member(OWNER, "p2")(SHARED),
        Action.MEMBER_REMOVED,
        {"member_id": "p2"},
    ),
    "found damaged": (active(), replace(active(), damage="The checksum differs."), None, {}),
}


@pytest.mark.parametrize(("before", "after", "action", "details"), CHANGES.values(), ids=CHANGES)
def test_a_change_has_its_action(
    before: Image | None, after: Image, action: Action | None, details: dict[str, object]
) -> None:
    """Each change is one action with its details, or none if its owner cannot notice it."""
    dated = ledger.created(after, NOW) if before is None else ledger.stamp(before, after, NOW)

    assert action_between(before, dated) is action
    if action is not None:
        assert details_of(action, before, dated) == details


def test_every_transition_has_an_action() -> None:
    """Each event of the life of an image is told, and each action can happen."""
    assert set(ACTIONS) == set(Event)
    assert set(DETAILS) == set(Action) == {action for _, _, action, _ in CHANGES.values()} - {None}


def test_a_finished_upload_has_its_duration_and_mean_rate() -> None:
    """Both are counted from its beginning, by the catalog's clock."""
    began = ledger.stamp(queued(), saving(), NOW)
    done = store_data(content(150 * MIB))(began, claim())
    after = ledger.stamp(began, done, NOW + timedelta(seconds=60))

    assert details_of(Action.UPLOADED, began, after) == {
        "size_bytes": 150 * MIB,
        "duration_s": 60.0,
        "mib_per_s": 2.5,
    }


@pytest.mark.parametrize("back", [timedelta(0), HOUR])
def test_a_clock_that_was_set_back_hides_duration_and_rate(back: timedelta) -> None:
    """They would be zero or negative; the size is known nevertheless."""
    began = ledger.stamp(queued(), saving(), NOW)
    after = ledger.stamp(began, store_data(content())(began, claim()), NOW - back)

    assert details_of(Action.UPLOADED, began, after) == SIZE


def test_staging_again_counts_from_its_own_beginning() -> None:
    """Bytes that replace staged ones do not take as long as both together."""
    again = ledger.stamp(
        STAGED, begin_staging(location("third"), replaces=True)(STAGED, claim(3)), NOW
    )
    after = ledger.stamp(again, stage_data(content())(again, claim(3)), NOW + HOUR)

    assert (again.status, again.since) == (Status.UPLOADING, NOW)
    assert details_of(Action.STAGED, again, after)["duration_s"] == HOUR.total_seconds()


def test_an_import_counts_from_its_last_attempt() -> None:
    """Waiting for a worker is not work."""
    waiting = ledger.stamp(queued(), importing(), NOW)
    began = ledger.stamp(waiting, attempt_at(location())(waiting, claim()), NOW + HOUR)
    after = ledger.stamp(began, store_data(content())(began, claim()), NOW + 3 * HOUR)

    assert details_of(Action.IMPORTED, began, after)["duration_s"] == 2 * HOUR.total_seconds()


def test_a_broken_upload_tells_how_much_arrived() -> None:
    """So the log shows whether a client sends nothing, or is cut off."""
    began = note_received(BrokenUpload(100, 40, "md5"))(saving(), claim())
    after = ledger.stamp(began, give_back(claim(), REASON, final=True)(began), NOW)

    assert details_of(Action.UPLOAD_FAILED, began, after)["received_bytes"] == 40
