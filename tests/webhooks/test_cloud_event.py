"""The body of a request is a CloudEvent, and its data the message of OpenStack's services."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

from cloudevents.core.bindings.http import HTTPMessage, from_structured_event

from imaged.core.notification import image_notifications
from imaged.core.outbox import OutboxEvent
from imaged.webhooks.cloud_event import MEDIA_TYPE, cloud_event
from support.sample_images import queued

CATALOG_ID = UUID(int=1)
RECORDED: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "core/glance-33-notifications.json").read_text()
)
EVENT = OutboxEvent(
    UUID(int=7),
    image_notifications(None, queued())[0],
    datetime(2026, 11, 30, 17, 13, 26, 609679, tzinfo=timezone(timedelta(hours=1))),
)


def test_a_library_of_receivers_reads_it() -> None:
    """All attributes, and the data."""
    body = cloud_event(EVENT, CATALOG_ID, "image.here")
    read = from_structured_event(HTTPMessage({"content-type": MEDIA_TYPE}, body))
    assert read.get_specversion() == "1.0"
    assert read.get_id() == str(EVENT.id)
    assert read.get_source() == "urn:uuid:00000000-0000-0000-0000-000000000001"
    assert read.get_type() == "org.openstack.image.create"
    assert read.get_subject() == f"images/{queued().id}"
    assert read.get_time() == EVENT.created_at
    assert read.get_datacontenttype() == "application/json"
    assert read.get_data() == json.loads(body)["data"]


def test_the_data_is_the_message_that_glance_publishes() -> None:
    """The same names, and forms of values."""
    data = json.loads(cloud_event(EVENT, CATALOG_ID, "image.here"))["data"]
    theirs = RECORDED["message"]
    assert data.keys() == theirs.keys() | {"payload"}
    assert theirs["timestamp"] == "2026-11-30 16:13:26.609679" == data["timestamp"]
    assert data == {
        "message_id": str(EVENT.id),
        "publisher_id": "image.here",
        "event_type": "image.create",
        "priority": "INFO",
        "timestamp": "2026-11-30 16:13:26.609679",
        "payload": EVENT.notification.payload,
    }


def test_each_attempt_has_the_same_body() -> None:
    """So that receivers can compare."""
    again = replace(EVENT, failures=3, last_error="answered 500")
    assert cloud_event(again, CATALOG_ID, "p") == cloud_event(EVENT, CATALOG_ID, "p")


def test_a_whole_second_has_its_microseconds() -> None:
    """As all other moments have them."""
    event = replace(EVENT, created_at=datetime(2026, 1, 2, tzinfo=UTC))
    body = json.loads(cloud_event(event, CATALOG_ID, "p"))
    assert body["time"] == "2026-01-02T00:00:00.000000Z"
    assert body["data"]["timestamp"] == "2026-01-02 00:00:00.000000"
