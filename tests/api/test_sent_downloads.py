"""Each download is an event: by whom, and how much of what was asked for."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from imaged.core.limits import MIB
from imaged.core.notification import EventType
from support.server import RawConnection, served
from support.service import Service
from support.waiting import wait_until


@contextmanager
def told(service: Service) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """The priority and the payload of each download of the block."""
    service.facts.wanted_events = frozenset({EventType.IMAGE_SEND})
    found: list[tuple[str, dict[str, Any]]] = []
    yield found
    asyncio.run(service.sent_downloads.write())
    for waiting in service.facts.outbox.values():
        event = waiting.event.notification
        found.append((event.priority, dict(event.payload)))


@pytest.mark.parametrize(
    ("headers", "sent_bytes"), [({}, 5), ({"range": "bytes=1-3"}, 3), ({"range": "bytes=-2"}, 2)]
)
def test_whole_downloads_and_ranges(
    service: Service, headers: dict[str, str], sent_bytes: int
) -> None:
    """Of a range, its bytes."""
    image_id = asyncio.run(service.create_active(b"hello"))
    path = f"/v2/images/{image_id}/file"
    with told(service) as downloads:
        asyncio.run(service.call("GET", path, headers=headers))
    ((priority, payload),) = downloads
    assert (priority, payload["bytes_sent"]) == ("INFO", sent_bytes)
    assert payload["image_id"] == image_id
    assert payload["owner_id"] == service.image(image_id).owner
    assert payload["receiver_user_id"] == "alice"


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("HEAD", "/file", {}),
        ("GET", "/file", {"range": "bytes=9-"}),
        ("GET", "", {}),
    ],
)
def test_what_is_no_download(
    service: Service, method: str, path: str, headers: dict[str, str]
) -> None:
    """The headers alone, a range that is not there, and the record."""
    image_id = asyncio.run(service.create_active(b"hello"))
    with told(service) as downloads:
        asyncio.run(service.call(method, f"/v2/images/{image_id}{path}", headers=headers))
    assert not downloads


def test_an_image_without_data_sends_nothing(service: Service) -> None:
    """Its download is answered with 204."""
    image_id = asyncio.run(service.create())
    with told(service) as downloads:
        asyncio.run(service.call("GET", f"/v2/images/{image_id}/file"))
    assert not downloads


def test_a_download_that_the_client_breaks_off(service: Service) -> None:
    """It is told, with what was sent: Glance tells nothing of it."""
    image_id = asyncio.run(service.create_active(b"x" * 64 * MIB))
    with told(service) as downloads, served(service) as port:
        with RawConnection(port) as line:
            line.ask(f"GET /v2/images/{image_id}/file")
            assert line.read_head()[0] == 200
        wait_until(lambda: service.sent_downloads._collected)
    ((priority, payload),) = downloads
    assert priority == "ERROR"
    assert payload["bytes_sent"] < 64 * MIB
