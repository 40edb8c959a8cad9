"""Requests to a real server: what it is sent, and what its answers mean."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from imaged.core.errors import EventRefused, ReceiverError
from imaged.core.notification import image_notifications
from imaged.core.outbox import OutboxEvent
from imaged.core.secret import Secret
from imaged.webhooks.http_receiver import HttpReceiver
from imaged.webhooks.settings import WebhookSettings
from support.certificates import make_certificate
from support.event_receiver import OTHER_SECRET, SECRET, WebhookServer
from support.sample_images import queued

pytestmark = pytest.mark.asyncio

CATALOG_ID = UUID(int=1)


def event() -> OutboxEvent:
    """An event that is sent."""
    return OutboxEvent(uuid4(), image_notifications(None, queued())[0], datetime.now(UTC))


def settings_of(server: WebhookServer, **changes: object) -> WebhookSettings:
    """Settings that lead to the server."""
    settings = WebhookSettings(
        url=server.url,
        secrets=[Secret(SECRET)],
        ca_file=None,
        publisher_id="image.here",
        timeout=timedelta(seconds=10),
        concurrency=4,
    )
    return replace(settings, **changes)  # type: ignore[arg-type]


async def send(server: WebhookServer, *events: OutboxEvent, **changes: object) -> None:
    """Send events over one connection."""
    async with HttpReceiver(settings_of(server, **changes)).connect(CATALOG_ID) as connection:
        for one in events or [event()]:
            await connection.send(one)


@pytest_asyncio.fixture
async def server() -> AsyncIterator[WebhookServer]:
    """A receiver that works."""
    async with WebhookServer().running() as server:
        yield server


async def test_what_is_sent(server: WebhookServer) -> None:
    """A signed CloudEvent in structured mode, and the URL with its query."""
    sent = event()
    await send(server, sent)
    (received,) = server.received
    assert received.headers["content-type"].startswith("application/cloudevents+json")
    assert received.headers["user-agent"].startswith("imaged/")
    assert received.headers["webhook-id"] == received.event["id"] == str(sent.id)
    assert received.event["source"] == CATALOG_ID.urn
    assert received.event["data"]["publisher_id"] == "image.here"
    assert Webhook(SECRET).verify(received.body, dict(received.headers)) == received.event


async def test_a_secret_can_be_replaced(server: WebhookServer) -> None:
    """The receiver knows the old one until it is changed."""
    server.secret = OTHER_SECRET
    with pytest.raises(ReceiverError, match="answered 500 Internal Server Error"):
        await send(server)
    await send(server, secrets=[Secret(SECRET), Secret(OTHER_SECRET)])


async def test_a_connection_is_used_again(server: WebhookServer) -> None:
    """One for all events that are sent after each other."""
    await send(server, *(event() for _ in range(5)))
    assert (len(server.received), len(server.peers)) == (5, 1)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_answers_that_accept(server: WebhookServer, status: int) -> None:
    """Any of 2xx."""
    server.statuses = [status]
    await send(server)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, EventRefused) for status in (400, 413, 415, 422)),
        *((status, ReceiverError) for status in (401, 403, 404, 408, 410, 425, 429)),
        *((status, ReceiverError) for status in (500, 502, 503, 504, 599)),
    ],
)
async def test_answers_that_do_not_accept(
    server: WebhookServer, status: int, kind: type[ReceiverError]
) -> None:
    """Some are about the event, all others about the receiver. The error shows no query."""
    server.statuses = [status]
    with pytest.raises(ReceiverError) as refused:
        await send(server)
    assert type(refused.value) is kind
    assert refused.value.is_outage is (kind is ReceiverError)
    assert f"answered {status}" in str(refused.value)
    assert f"http://127.0.0.1:{server.port}/events," in str(refused.value)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(server: WebhookServer, status: int) -> None:
    """The operator says who receives events."""
    async with WebhookServer().running() as other:
        server.statuses, server.headers = [status], {"Location": other.url}
        with pytest.raises(ReceiverError, match=r"redirect.*set notifications\.url to where it"):
            await send(server)
        assert not other.received


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("-1", None),
        ("9" * 9, None),
    ],
)
async def test_how_long_the_receiver_wants_to_be_left_alone(
    server: WebhookServer, header: str, seconds: int | None
) -> None:
    """In seconds; a date is ignored, since clocks differ."""
    server.statuses, server.headers = [503], {"Retry-After": header}
    with pytest.raises(ReceiverError) as busy:
        await send(server)
    expected = None if seconds is None else timedelta(seconds=seconds)
    assert busy.value.retry_after == expected


async def test_a_receiver_that_does_not_answer(server: WebhookServer) -> None:
    """The timeout covers the whole request."""
    server.answering.clear()
    with pytest.raises(ReceiverError, match=r"did not answer in 0\.2 s"):
        await send(server, timeout=timedelta(seconds=0.2))


async def test_a_receiver_that_is_gone(server: WebhookServer) -> None:
    """Its name, and why."""
    port = server.port
    with pytest.raises(ReceiverError, match=r"cannot be reached: Connection refused"):
        await send(server, url="http://127.0.0.1:1/events")
    with pytest.raises(ReceiverError, match="has a name that cannot be resolved"):
        await send(server, url=f"http://nowhere.invalid:{port}/")


async def test_an_answer_that_never_ends(server: WebhookServer) -> None:
    """Is not read to its end: the status counts."""

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(b"x" * 65536)
                await writer.drain()
        except ConnectionError:
            writer.close()

    pouring = await asyncio.start_server(pour, "127.0.0.1", 0)
    async with pouring:
        port = pouring.sockets[0].getsockname()[1]
        await send(server, url=f"http://127.0.0.1:{port}/")


async def test_a_certificate_of_an_own_authority(tmp_path: Path) -> None:
    """It is trusted by ``ca_file``, and by nothing else."""
    file = make_certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(file)
    async with WebhookServer(tls=tls).running() as server:
        await send(server, ca_file=file)
        with pytest.raises(ReceiverError, match="has a certificate that is not trusted"):
            await send(server)
        assert len(server.received) == 1


async def test_what_operators_are_told(server: WebhookServer) -> None:
    """The receiver is asked for its permission, which few give and none must."""
    receiver = HttpReceiver(settings_of(server))
    assert await receiver.ask() == "answers an OPTIONS request with 204 No Content"
    assert server.received[0].headers["webhook-request-origin"] == "image.here"
    server.headers = {"WebHook-Allowed-Origin": "image.here"}
    assert (await receiver.ask()).endswith("and allows events of 'image.here'")
    server.headers, server.statuses = {}, [405]
    assert await receiver.ask() == "answers an OPTIONS request with 405 Method Not Allowed"
    for status in (301, 503):
        server.statuses = [status]
        with pytest.raises(ReceiverError, match=f"answered {status}"):
            await receiver.ask()
