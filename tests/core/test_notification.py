"""Which events a change sends, and that payloads have the form of Glance's.

``glance-33-notifications.json`` has what Glance 33.0.0 sent with the notification driver ``log``:
an image was uploaded, downloaded, changed, shared and deleted; another one was staged and imported;
the upload of a third one broke off.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from imaged.core import ledger
from imaged.core.deletion import deactivate, delete_after, expire, reactivate, restore
from imaged.core.history import Action
from imaged.core.image import Image, Visibility
from imaged.core.member import Member, MemberStatus
from imaged.core.notification import (
    IMAGE_EVENTS,
    EventType,
    Notification,
    Priority,
    Sent,
    image_notifications,
    image_sent,
    task_notifications,
    task_removed,
)
from imaged.core.task import (
    Progress,
    Task,
    TaskStatus,
    cancel,
    claim_task,
    finish_task,
    stamp,
    worker_stopped,
)
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
RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parent / "glance-33-notifications.json").read_text()
)
STAGED = staged()
IMPORTING = attempt_at(location("second"))(begin_import(task())(STAGED), claim(2))
MAKING = attempt_at(location())(draft(), claim())
SHARED = replace(active(), members={"p2": Member("p2", created_at=NOW, updated_at=NOW)})
TASK = task()
RUNNING = claim_task(TASK, claim())

#: What happened, by the image before and after it, and the events, in order.
CHANGES: dict[str, tuple[Image | None, Image, str]] = {
    "a new image": (None, queued(), "image.create"),
    "a new draft": (None, draft(), "task.create"),
    "a finished draft": (
        MAKING,
        store_data(content())(MAKING, claim()),
        "image.create image.upload image.activate task.success",
    ),
    "a failed draft": (
        MAKING,
        change_task(lambda it: cancel(it, REASON))(MAKING),
        "task.failure",
    ),
    "an upload": (queued(), saving(), "image.update image.prepare"),
    "a finished upload": (saving(), active(), "image.upload image.activate image.update"),
    "a failed upload": (
        saving(),
        give_back(claim(), REASON, final=True)(saving()),
        "image.upload! image.update",
    ),
    "a killed upload": (
        saving(),
        give_back(claim(), REASON, final=True, kill=True)(saving()),
        "image.upload! image.update",
    ),
    "staging": (queued(), uploading(), "image.update"),
    "staged": (uploading(), STAGED, "image.update"),
    "staging again": (
        STAGED,
        begin_staging(location("third", 50), replaces=True)(STAGED, claim(3)),
        "image.update",
    ),
    "failed staging": (
        uploading(),
        give_back(claim(), REASON, final=True)(uploading()),
        "image.update",
    ),
    "staged in vain": (STAGED, unstage(STAGED)(STAGED), "image.update"),
    "an import": (STAGED, begin_import(task())(STAGED), "image.update image.prepare task.create"),
    "a worker picks it up": (
        importing(),
        attempt_at(location())(importing(), claim()),
        "task.processing task.run",
    ),
    "a finished import": (
        IMPORTING,
        store_data(content())(IMPORTING, claim(2)),
        "image.upload image.activate image.update task.success",
    ),
    "a failed import": (
        importing(),
        change_task(lambda it: cancel(it, REASON))(importing()),
        "image.upload! image.update task.failure",
    ),
    "an import that waits again": (
        IMPORTING,
        give_back(claim(2), REASON, final=False)(IMPORTING),
        "",
    ),
    "a location": (queued(), share_data(active())(queued()), "image.activate image.update"),
    "deactivated": (active(), deactivate(active()), "image.update"),
    "reactivated": (deactivate(active()), reactivate(deactivate(active())), "image.update"),
    "deleted without data": (queued(), delete_after(HOUR)(queued()), "image.delete"),
    "deleted at once": (active(), delete_after(timedelta(0))(active()), "image.delete"),
    "deleted with a delay": (active(), delete_after(HOUR)(active()), "image.delete"),
    "restored": (pending_delete(), restore(pending_delete()), "image.activate image.update"),
    "expired": (pending_delete(), expire(pending_delete())(pending_delete()), ""),
    "scrubbed": (expired(), ledger.settle_scrubbed(expired(), "first", NOW), ""),
    "attributes": (active(), replace(active(), hidden=True), "image.update"),
    "a member more": (
        SHARED,
        replace(SHARED, members={**SHARED.members, "p3": Member("p3")}),
        "image.member.create",
    ),
    "an answer": (
        SHARED,
        replace(SHARED, members={"p2": Member("p2", MemberStatus.ACCEPTED, NOW)}),
        "image.member.update",
    ),
    "a member less": (SHARED, active(), "image.member.delete"),
    "a name and a member": (SHARED, replace(active(), name="another"), "image.update"),
    "found damaged": (active(), replace(active(), damage="The checksum differs."), ""),
    "nothing": (active(), active(), ""),
}


def events_of(notifications: Sequence[Notification]) -> str:
    """The types, in order; those of failures with a mark."""
    return " ".join(
        f"{one.type}{'!' if one.priority is Priority.ERROR else ''}" for one in notifications
    )


def dated(before: Image | None, after: Image) -> Image:
    """An image as the catalog dates it."""
    return ledger.created(after, NOW) if before is None else ledger.stamp(before, after, NOW)


def recorded(event: str, priority: str = "INFO") -> list[dict[str, Any]]:
    """The payloads of an event that Glance sent."""
    sent = [one for name, group in RECORDED.items() if name != "message" for one in group]
    of_type = [
        one["payload"] for one in sent if (one["event_type"], one["priority"]) == (event, priority)
    ]
    assert of_type
    return of_type


@pytest.mark.parametrize(("before", "after", "events"), CHANGES.values(), ids=CHANGES)
@pytest.mark.rule("notifications.1")
def test_a_change_has_its_events(before: Image | None, after: Image, events: str) -> None:
    """In the order in which Glance sends them; failures are marked."""
    assert events_of(image_notifications(before, dated(before, after))) == events


def test_every_action_has_its_events() -> None:
    """Also one that a later version adds to the history; each type can be sent."""
    assert set(IMAGE_EVENTS) == set(Action)
    sent = {event.strip("!") for _, _, events in CHANGES.values() for event in events.split()}
    assert set(EventType) - sent == {EventType.IMAGE_SEND, EventType.TASK_DELETE}


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        (None, TASK, "task.create"),
        (None, replace(TASK, status=TaskStatus.PROCESSING), "task.create task.processing task.run"),
        (TASK, RUNNING, "task.processing task.run"),
        (RUNNING, finish_task({})(RUNNING, claim()), "task.success"),
        (TASK, cancel(TASK, REASON), "task.failure"),
        (RUNNING, worker_stopped(RUNNING), ""),
        (TASK, replace(TASK, input={"a": 1}), ""),
        (RUNNING, replace(RUNNING, progress=Progress("fetching")), ""),
        (TASK, task("another"), "task.create"),
        (TASK, None, ""),
        (None, None, ""),
    ],
)
def test_a_change_of_a_task_has_its_events(
    before: Task | None, after: Task | None, events: str
) -> None:
    """Of its status; a lost worker is no event that Glance knows."""
    assert events_of(task_notifications(before, after)) == events


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, queued()),
        (queued(), saving()),
        (saving(), active()),
        (active(), delete_after(HOUR)(active())),
        (STAGED, begin_import(task())(STAGED)),
        (IMPORTING, store_data(content())(IMPORTING, claim(2))),
    ],
)
@pytest.mark.rule("notifications.2")
def test_a_payload_has_the_fields_of_glances(before: Image | None, after: Image) -> None:
    """The same names, in the same order, with values of the same types. The store of an import is
    not chosen when it is requested.
    """
    for one in image_notifications(before, dated(before, after)):
        theirs = recorded(one.type)
        left_out = set() if one.type != "image.prepare" or after.locations else {"backend"}
        assert list(one.payload) == [name for name in theirs[0] if name not in left_out]
        for name, value in one.payload.items():
            kinds = {type(payload[name]) for payload in theirs} | {type(None)}
            assert type(value) in kinds | ({str} if name == "expires_at" else set()), name


def test_the_values_of_an_image() -> None:
    """Each field is that of the record."""
    image = replace(
        active(),
        name="hello",
        visibility=Visibility.PUBLIC,
        min_disk_gib=1,
        min_ram_mib=2,
        protected=True,
        tags=("b", "a"),
        properties={"os_distro": "debian"},
        created_at=NOW - HOUR,
        updated_at=NOW,
    )
    (update,) = image_notifications(replace(image, name="before"), image)
    assert update.payload == {
        "id": image.id,
        "name": "hello",
        "status": "active",
        "created_at": "2026-11-20T11:00:00Z",
        "updated_at": "2026-11-20T12:00:00Z",
        "min_disk": 1,
        "min_ram": 2,
        "protected": True,
        "checksum": "md5 of them",
        "owner": "p1",
        "disk_format": "raw",
        "container_format": "bare",
        "size": 100,
        "virtual_size": 100,
        "is_public": True,
        "visibility": "public",
        "properties": {"os_distro": "debian"},
        "tags": ["b", "a"],
        "deleted": False,
        "deleted_at": None,
    }
    assert (update.queue, update.subject) == (image.id, f"images/{image.id}")


def test_a_beginning_upload_names_its_store() -> None:
    """As Glance's does."""
    _, prepare = image_notifications(queued(), dated(queued(), saving()))
    assert prepare.payload["backend"] == "local"


def test_a_failed_upload_has_the_payload_of_its_image() -> None:
    """And the reason: Glance sends a text there, without the id of the image in a field."""
    assert isinstance(recorded("image.upload", "ERROR")[0], str)
    gave_up = dated(saving(), give_back(claim(), REASON, final=True)(saving()))
    upload, _ = image_notifications(saving(), gave_up)
    assert upload.payload["message"] == REASON
    assert upload.payload.items() >= {"id": gave_up.id, "status": "queued"}.items()


def test_a_deleted_image_says_so() -> None:
    """With the time of its deletion."""
    (delete,) = image_notifications(active(), dated(active(), delete_after(HOUR)(active())))
    assert delete.payload["deleted"] is True
    assert delete.payload["deleted_at"] == "2026-11-20T12:00:00Z"
    assert delete.payload["status"] == "pending_delete"


@pytest.mark.rule("notifications.2")
def test_a_task_tells_neither_its_input_nor_its_result() -> None:
    """Both may have secrets, and its message may quote them; Glance leaves them out too."""
    secret = task(input={"import_from": "https://user:secret@host/"}, image_id="i")
    ended = stamp(secret, cancel(secret, "secret"), NOW)
    (failure,) = task_notifications(secret, ended)
    removed = task_removed(ended, NOW)

    assert "secret" not in json.dumps([failure.payload, removed.payload])
    assert list(failure.payload) == list(removed.payload) == list(recorded("task.create")[0])
    assert (
        failure.payload.items()
        >= {
            "id": "task-1",
            "type": "api_image_import",
            "status": "failure",
            "owner": "p1",
            "expires_at": "2026-11-22T12:00:00Z",
            "updated_at": "2026-11-20T12:00:00Z",
        }.items()
    )
    assert (failure.queue, failure.subject) == ("task-1", "tasks/task-1")
    assert (removed.type, removed.payload["deleted"]) == ("task.delete", True)
    assert removed.payload["deleted_at"] == "2026-11-20T12:00:00Z"


def test_a_task_that_waits_has_no_expiry() -> None:
    """Glance says that it expires now."""
    (create,) = task_notifications(None, TASK)
    assert create.payload["expires_at"] is None
    assert recorded("task.create")[0]["expires_at"] == recorded("task.create")[0]["created_at"]


@pytest.mark.parametrize(("sent_bytes", "priority"), [(100, "INFO"), (40, "ERROR")])
def test_a_download_tells_who_got_how_much(sent_bytes: int, priority: str) -> None:
    """One that ended early is marked: Glance tells nothing of it."""
    sent = Sent(UUID(int=7), "i", "p1", "", "web", sent_bytes, 100)
    told = image_sent(sent)
    assert list(told.payload) == list(recorded("image.send")[0])
    assert told.payload == {
        "bytes_sent": sent_bytes,
        "image_id": "i",
        "owner_id": "p1",
        "receiver_tenant_id": "web",
        "receiver_user_id": None,
    }
    assert (told.type, told.priority, told.queue) == ("image.send", priority, str(UUID(int=7)))


def test_the_order_is_glances() -> None:
    """Of an upload and of an import, which Glance tells in one transaction less."""
    told = [one["event_type"] for one in RECORDED["upload, changes, sharing and deletion"]]
    changes = [(None, queued()), (queued(), saving()), (saving(), active())]
    ours = " ".join(events_of(image_notifications(a, dated(a, b))) for a, b in changes)
    assert ours.split() == told[: len(ours.split())]

    told = [
        one["event_type"]
        for one in RECORDED["staging and import"]
        if one["event_type"].startswith("image.")
    ]
    changes = [
        (None, queued()),
        (queued(), uploading()),
        (uploading(), stage_data(content())(uploading(), claim())),
        (STAGED, begin_import(task())(STAGED)),
        (IMPORTING, store_data(content())(IMPORTING, claim(2))),
    ]
    ours = " ".join(events_of(image_notifications(a, dated(a, b))) for a, b in changes)
    of_image = [event for event in ours.split() if event.startswith("image.")]
    assert of_image == told[: len(of_image)]


def test_the_payload_of_a_member() -> None:
    """The fields of Glance's ``format_image_member_notification``; a removed one says when."""
    (removed,) = image_notifications(SHARED, active(), NOW + HOUR)
    answered = replace(SHARED, members={"p2": Member("p2", MemberStatus.REJECTED, NOW, NOW)})
    (update,) = image_notifications(SHARED, answered, NOW + HOUR)

    payload = {
        "image_id": SHARED.id,
        "member_id": "p2",
        "status": "rejected",
        "created_at": "2026-11-20T12:00:00Z",
        "updated_at": "2026-11-20T12:00:00Z",
        "deleted": False,
        "deleted_at": None,
    }
    assert update.payload == payload
    assert removed.payload == {
        **payload,
        "status": "pending",
        "deleted": True,
        "deleted_at": "2026-11-20T13:00:00Z",
    }
    assert update.subject == f"images/{SHARED.id}/members/p2"
    assert update.queue == removed.queue == SHARED.id
