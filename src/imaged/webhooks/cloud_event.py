"""Events as JSON: a CloudEvent whose data is the message that OpenStack's services publish.

The structured mode of the HTTP binding has all attributes in the body, which is what the signature
covers; in the binary mode they are headers, which nothing covers.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec

from imaged.core.outbox import OutboxEvent

MEDIA_TYPE = "application/cloudevents+json; charset=utf-8"
TYPE_PREFIX = "org.openstack."  # CloudEvents asks for the reversed name of who defines the type


def cloud_event(event: OutboxEvent, catalog_id: UUID, publisher_id: str) -> bytes:
    """The body of the request. Every attempt of an instance has the same one."""
    told, moment = event.notification, event.created_at.astimezone(UTC)
    return msgspec.json.encode(
        {
            "specversion": "1.0",
            "id": str(event.id),
            "source": catalog_id.urn,
            "type": f"{TYPE_PREFIX}{told.type}",
            "subject": told.subject,
            "time": _rfc_3339(moment),
            "datacontenttype": "application/json",
            "data": {
                "message_id": str(event.id),
                "publisher_id": publisher_id,
                "event_type": str(told.type),
                "priority": str(told.priority),
                "timestamp": moment.replace(tzinfo=None).isoformat(" ", "microseconds"),
                "payload": told.payload,
            },
        }
    )


def _rfc_3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
