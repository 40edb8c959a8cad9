"""Ended downloads are collected, and written to the outbox together."""

from __future__ import annotations

from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from imaged.core.access import Caller
from imaged.core.errors import CatalogError
from imaged.core.notification import EventType
from imaged.services import sent_downloads
from imaged.services.sent_downloads import SentDownloads
from support.cluster import Cluster
from support.faults import override_calls
from support.node import image_id

pytestmark = pytest.mark.anyio

ANN = Caller("ann", "web", frozenset({"member"}))


async def collect(cluster: Cluster, sent: SentDownloads, count: int = 1) -> None:
    """Download this many times, seven of ten bytes."""
    image = await cluster.catalog.get_image(image_id(1))
    for _ in range(count):
        with sent.recording(ANN, image, 10) as download:
            download.count += 7


@pytest.fixture
async def sent(cluster: Cluster) -> SentDownloads:
    """What collects them, with an image to download."""
    await cluster.queued(image_id(1))
    cluster.catalog.wanted_events = frozenset(EventType)
    return SentDownloads(cluster.catalog)


async def test_a_download_is_told_however_it_ends(cluster: Cluster, sent: SentDownloads) -> None:
    """By whom, of what, and how much of it."""
    image = await cluster.catalog.get_image(image_id(1))
    with suppress(ConnectionError), sent.recording(ANN, image, 10) as download:
        download.count += 7
        raise ConnectionError
    assert not cluster.catalog.outbox
    await sent.write()
    (waiting,) = cluster.catalog.outbox.values()
    assert waiting.event.notification.priority == "ERROR"
    assert waiting.event.notification.payload == {
        "bytes_sent": 7,
        "image_id": image.id,
        "owner_id": image.owner,
        "receiver_tenant_id": "web",
        "receiver_user_id": "ann",
    }


async def test_they_are_written_together(cluster: Cluster, sent: SentDownloads) -> None:
    """In few transactions, and once."""
    calls = 0

    async def counted(events: list[object]) -> None:
        nonlocal calls
        calls += 1
        await type(cluster.catalog).add_events(cluster.catalog, events)  # type: ignore[arg-type]

    sent._catalog = override_calls(cluster.catalog, add_events=counted)
    await collect(cluster, sent, sent_downloads.BATCH + 1)
    await sent.write()
    await sent.write()
    assert (calls, len(cluster.catalog.outbox)) == (2, sent_downloads.BATCH + 1)


async def test_unwanted_downloads_are_not_collected(cluster: Cluster, sent: SentDownloads) -> None:
    """They cost nothing."""
    cluster.catalog.wanted_events = frozenset({EventType.IMAGE_CREATE})
    await collect(cluster, sent)
    assert not sent._collected


async def test_a_catalog_that_does_not_answer(
    cluster: Cluster, sent: SentDownloads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They wait for it in bounded memory; what is lost is an error in the log."""
    monkeypatch.setattr(sent_downloads, "MAX_COLLECTED", 5)

    async def fails(_: object) -> None:
        raise CatalogError("it is away")

    working, sent._catalog = sent._catalog, override_calls(cluster.catalog, add_events=fails)
    await collect(cluster, sent, 3)
    with pytest.raises(CatalogError):
        await sent.write()
    with capture_logs() as logs:
        await collect(cluster, sent, 4)
    assert [(one["event"], one["events"]) for one in logs] == [("notifications.dropped", 1)] * 2
    with capture_logs() as logs:
        await sent.close()
    assert [(one["event"], one["events"]) for one in logs] == [("notifications.dropped", 5)]

    sent._catalog = working
    await sent.close()
    assert (len(cluster.catalog.outbox), sent.lost) == (5, 2)
