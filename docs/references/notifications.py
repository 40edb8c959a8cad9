"""Makes the page of the notifications, from the tables of ``core/notification``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import msgspec

from imaged.core.history import Action
from imaged.core.image import Image
from imaged.core.member import Member
from imaged.core.notification import (
    IMAGE_EVENTS,
    EventType,
    Sent,
    image_notifications,
    image_sent,
    task_notifications,
)
from imaged.core.outbox import OutboxEvent
from imaged.core.task import Task
from imaged.webhooks.cloud_event import cloud_event
from imaged.webhooks.http_receiver import EVENT_STATUSES
from references.markdown import MADE, code, table
from references.notification_differences import differences

_NOW = datetime(2026, 11, 30, 16, 13, 26, 609679, tzinfo=UTC)
_IMAGE = Image(
    id="bc0225c6-cae1-4154-90fd-c3e6bb757f6e",
    owner="3c2e5c0d8f4b4d0a9d5f1f2b6a7c8d9e",
    name="hello",
    disk_format="raw",
    container_format="bare",
    created_at=_NOW,
    updated_at=_NOW,
)

_HEAD = f"""\
# Notifications

{MADE}

For those who write a receiver of events: an indexer, billing, a bridge to a message bus. Names of
events and of the fields of `payload` are those of Glance 33, so what reads Glance's notifications
reads these. How to set one up: [how to send notifications](../how-to/send-notifications.md).

## The request

Each event is one POST request to `notifications.url`. Its body is a
[CloudEvent](https://cloudevents.io) in JSON (structured mode), its `data` the message that
OpenStack's services publish:
"""

_ATTRIBUTES = """\
`type` is `org.openstack.` and the name of the event. `source` names the catalog: all instances on
it are one source. `subject` is the path of the image or task below `/v2/`. `id` is the same in
every attempt.

The headers sign it as [Standard Webhooks](https://www.standardwebhooks.com) do, and their libraries
verify it:

{headers}
## What a receiver can rely on

- **Nothing is lost.** An event is stored in the transaction of its change, and kept until the
  receiver has accepted it, for `notifications.keep` (7 days). `image.send` belongs to no change: an
  instance that is killed loses those of its last second.
- **At least once.** An event may come twice, if its answer was lost or an instance was killed. Its
  `id` says so: ignore those that you know.
- **In order for each image and each task.** The next event of an image is sent when the one before
  was accepted. Events of different images, and of an image and its task, have no order;
  `image.send` has none.
- **Any answer of 2xx accepts an event.** Answer when it is stored: within `notifications.timeout`
  (10 s).

{answers}
An event that was not accepted for `notifications.keep` is dropped, and so are the oldest if more
than `notifications.max_waiting` wait: `notifications.dropped` is an error in the log.

## Events
"""

_ANSWERS = (
    (
        "2xx",
        "The event is done.",
    ),
    (
        "{refusals}",
        (
            "The event is sent again, after pauses of 1 s to 5 min; other images' events go on. "
            "`notification.refused` is in the log."
        ),
    ),
    (
        "any other, or none",
        (
            "The receiver is taken to be away: one event is tried after each pause of 1 s to "
            "1 min, or of `Retry-After` (in seconds, at most 10 min). `receiver.degraded` is in "
            "the log, and `receiver.recovered` when all go on."
        ),
    ),
    (
        "3xx",
        "As any other: redirects are not followed.",
    ),
    (
        "410",
        "As any other: only the operator ends a subscription.",
    ),
)

_HEADERS = (
    (
        "`webhook-id`",
        "The `id` of the event.",
    ),
    (
        "`webhook-timestamp`",
        (
            "The time of this attempt, in seconds since 1970. Receivers refuse what differs from "
            "their clock by more than five minutes."
        ),
    ),
    (
        "`webhook-signature`",
        (
            "`v1,` and the HMAC-SHA256 of `ID.TIMESTAMP.BODY` in base64; one for each secret, with "
            "spaces between."
        ),
    ),
)

_SENT: Mapping[EventType, tuple[str, str]] = {
    EventType.IMAGE_CREATE: (
        "An image was created, perhaps by a task and with its data.",
        "image",
    ),
    EventType.IMAGE_UPDATE: (
        (
            "A record changed: by a client, or because its status did. Follows the other events of "
            "the same change, and comes before `image.prepare`. An indexer needs only this one, "
            "`image.create` and `image.delete`."
        ),
        "image",
    ),
    EventType.IMAGE_PREPARE: (
        "The data of an upload begins to arrive, or an import was requested.",
        (
            "image, with `os_glance_importing_to_stores` and `os_glance_failed_import`, which are "
            "empty, and `backend`: the store, if it is chosen"
        ),
    ),
    EventType.IMAGE_UPLOAD: (
        (
            "The data of an upload or an import is complete. With the priority `ERROR`: it failed, "
            "and can be sent again."
        ),
        "as `image.prepare`, without `backend`; with `message`, the reason, if it failed",
    ),
    EventType.IMAGE_ACTIVATE: (
        (
            "The image has its data: after an upload, an import, an added location, and again when "
            "it was restored. Not when it was reactivated."
        ),
        "image",
    ),
    EventType.IMAGE_DELETE: (
        (
            "The image was deleted. Until `scrubber.delay` is over an operator can restore it; "
            "nothing is sent when its bytes go."
        ),
        "image, with `deleted` and `deleted_at`",
    ),
    EventType.IMAGE_SEND: (
        (
            "A client downloaded the data, or a range of it. With the priority `ERROR`: the "
            "download ended before its end."
        ),
        "download",
    ),
    EventType.IMAGE_MEMBER_CREATE: ("The image was shared with a project.", "member"),
    EventType.IMAGE_MEMBER_UPDATE: (
        "That project accepted or rejected it, or took its answer back.",
        "member",
    ),
    EventType.IMAGE_MEMBER_DELETE: (
        "The image is not shared with that project any more. Not sent when the image is deleted.",
        "member, with `deleted` and `deleted_at`",
    ),
    EventType.TASK_CREATE: ("A task was requested.", "task"),
    EventType.TASK_PROCESSING: (
        "An attempt at the task began; again after each lost worker.",
        "task",
    ),
    EventType.TASK_RUN: ("The same moment.", "task"),
    EventType.TASK_SUCCESS: ("The task has ended successfully.", "task"),
    EventType.TASK_FAILURE: ("The task failed, or was cancelled.", "task"),
    EventType.TASK_DELETE: (
        "The record of the task was removed, by a client or after `tasks.time_to_live`.",
        "task, with `deleted` and `deleted_at`",
    ),
}


def reference() -> str:
    """The page."""
    refusals = ", ".join(str(int(status)) for status in sorted(EVENT_STATUSES))
    rows = ((code(one), when, payload) for one, (when, payload) in _SENT.items())
    return "\n".join(
        [
            _HEAD,
            _example(),
            _ATTRIBUTES.format(
                headers=table(("header", "what it is"), _HEADERS),
                answers=table(
                    ("answer", "what imaged does"),
                    ((answer.format(refusals=refusals), done) for answer, done in _ANSWERS),
                ),
            ),
            table(("event", "when it is sent", "payload"), rows),
            "In the order of the change, the events of an image are:",
            "",
            table(("change ([events](events.md))", "events"), _orders()),
            *_payloads(),
            differences(),
        ]
    )


def _example() -> str:
    (create,) = image_notifications(None, _IMAGE)
    event = OutboxEvent(UUID("7a863757-57d9-45da-a2b7-2fea6ca5d10c"), create, _NOW)
    body = cloud_event(event, UUID("9f3c1e52-6c0b-4f7e-8a57-0a4c5b1d2e3f"), "image.host1")
    return f"```json\n{msgspec.json.format(body, indent=2).decode()}\n```\n"


def _orders() -> Iterator[tuple[str, str]]:
    for action in Action:
        events = ", ".join(map(code, IMAGE_EVENTS[action])) or "none"
        if action is Action.CREATED:
            events += "; with its data also `image.upload`, `image.activate`"
        yield code(action.event), events


def _payloads() -> Iterator[str]:
    (create,) = image_notifications(None, _IMAGE)
    (asked,) = task_notifications(None, Task(id="t", type="import", owner="p"))
    sent = image_sent(Sent(UUID(int=0), "i", "p", "u", "p", 1, 1))
    yield "## Payloads\n"
    yield (
        "Moments are in UTC, in whole seconds. Sizes are in bytes, `min_disk` in GiB, `min_ram` in "
        "MiB. Secrets, inputs, results and messages of tasks, and locations are not in them.\n"
    )
    shared = replace(_IMAGE, members={"p2": Member("p2")})
    (added,) = image_notifications(_IMAGE, shared)
    kinds = (("image", create), ("member", added), ("task", asked), ("download", sent))
    for name, told in kinds:
        yield f"- **{name}**: {', '.join(map(code, told.payload))}."
    yield ""
