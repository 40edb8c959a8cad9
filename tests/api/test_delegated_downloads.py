"""Downloads that a proxy is asked to send; tests/system has one with nginx."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from imaged.config import load
from imaged.core.notification import EventType
from imaged.daemon.delegation import delegation
from imaged.services.delegation import Delegation
from support.service import Service

BODY = b"hello"


@pytest.fixture
def image_id(service: Service) -> str:
    """An image in a store that a proxy reads too."""
    service.downloads.verify = False
    service.downloads.delegation = Delegation("x-sendfile", {"local": "/srv/images/"})
    return asyncio.run(service.create_active(BODY))


@pytest.mark.parametrize("headers", [{}, {"range": "bytes=1-2"}])
def test_the_header_is_there_instead_of_the_bytes(
    service: Service, image_id: str, headers: dict[str, str]
) -> None:
    """The proxy cuts ranges; the event says what was asked for."""
    service.facts.wanted_events = frozenset({EventType.IMAGE_SEND})
    reply = asyncio.run(service.call("GET", f"/v2/images/{image_id}/file", headers=headers))
    key = service.image(image_id).locations[0].key
    assert (reply.status, reply.body) == (200, b"")
    assert reply.headers["x-sendfile"] == f"/srv/images/{key}"
    assert reply.headers["content-md5"] == "5d41402abc4b2a76b9719d911017c592"
    assert reply.headers["content-length"] == "0"
    asyncio.run(service.sent_downloads.write())
    (event,) = service.facts.outbox.values()
    assert event.event.notification.payload["bytes_sent"] == (2 if headers else len(BODY))


def test_what_no_proxy_may_send(service: Service, image_id: str) -> None:
    """Verified bytes, those of other stores, those of others, and those that are gone."""
    path = f"/v2/images/{image_id}/file"
    assert asyncio.run(service.call("GET", path, caller="bob")).status == 404
    assert asyncio.run(service.call("GET", path, headers={"range": "bytes=9-"})).status == 416
    service.downloads.verify = True
    assert asyncio.run(service.call("GET", path)).body == BODY
    service.downloads.verify = False
    service.downloads.delegation = Delegation("x-sendfile", {"other": "/srv/images/"})
    assert asyncio.run(service.call("GET", path)).body == BODY
    service.downloads.delegation = Delegation("x-sendfile", {"local": "/srv/images/"})
    service.bytes.blobs.clear()
    assert asyncio.run(service.call("GET", path)).status >= 500


@pytest.mark.parametrize(
    ("text", "header", "folder"),
    [
        ("delegate = 'x-accel-redirect'", "x-accel-redirect", "/imaged-files/local/"),
        (
            "delegate = 'x-accel-redirect'\ndelegate_prefix = '/f/'",
            "x-accel-redirect",
            "/f/local/",
        ),
        ("delegate = 'x-sendfile'", "x-sendfile", "/srv/images/"),
    ],
)
def test_the_settings(tmp_path: Path, text: str, header: str, folder: str) -> None:
    """What the header says in front of a key."""
    file = tmp_path / "imaged.toml"
    store = "[stores.local]\ntype = 'filesystem'\npath = '/srv/images'\n"
    file.write_text(f"{store}[downloads]\nverify = false\n{text}\n")
    assert delegation(load(file, {})) == Delegation(header, {"local": folder})
    file.write_text(store)
    assert delegation(load(file, {})) is None
