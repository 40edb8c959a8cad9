"""Traffic: what moves is counted while it moves, and what has moved stays counted."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.errors import ClientVanished
from imaged.services.traffic import Rate
from support.bodies import BODY, send, send_broken
from support.callers import OWNER
from support.cluster import Cluster
from support.node import A

pytestmark = pytest.mark.anyio


async def test_an_upload_counts_while_it_lasts(cluster: Cluster) -> None:
    """It is in flight to its end, and its bytes are counted as they come."""
    await cluster.queued(A)
    node = cluster.node()
    upload = cluster.start(node.upload(A, send(every=4)))
    await anyio.sleep(2)

    assert node.traffic.uploads_in_flight == 1
    assert 0 < node.traffic.received_bytes < len(BODY)

    await upload.outcome()
    assert node.traffic.uploads_in_flight == 0
    assert node.traffic.received_bytes == len(BODY)


async def test_a_broken_upload_is_no_longer_in_flight(cluster: Cluster) -> None:
    """What had come of it is counted."""
    await cluster.queued(A)
    node = cluster.node()
    with pytest.raises(ClientVanished):
        await node.upload(A, send_broken(ClientVanished(), after=5))
    assert node.traffic.uploads_in_flight == 0
    assert node.traffic.received_bytes > 0


async def test_a_download_counts_while_it_is_open(cluster: Cluster) -> None:
    """Bytes are counted when they have been taken, and only then."""
    await cluster.active(A)
    node = cluster.node()
    node.budget.fixed_bytes = 3  # type: ignore[attr-defined]  # small blocks
    node.downloads.verify = False  # which would read all of it at once

    async with node.downloads.open(OWNER, A) as download:
        assert node.traffic.downloads_in_flight == 1
        await anext(download.chunks)
        assert node.traffic.sent_bytes == 0
        await anext(download.chunks)
        assert node.traffic.sent_bytes == 3

    assert node.traffic.downloads_in_flight == 0
    assert node.traffic.sent_bytes == 3


@pytest.mark.parametrize(
    "asked",
    [
        # what happened before the window is forgotten; it may begin between two questions
        [(1000, 10, 0), (1100, 12, 50), (1100, 16, 100 / 6), (1100, 17, 0)],
        [(0, 0, 0), (600, 60, 10), (600, 120, 0)],  # rarely: nothing else is known
        [(0, 1, 0), (100, 1, 0)],  # twice at one moment
    ],
)
def test_a_rate_is_that_of_the_last_seconds(asked: list[tuple[int, float, float]]) -> None:
    """Or of the time since the last question, where that is longer."""
    rate = Rate(timedelta(seconds=5))
    assert [rate.per_second(total, at=at) for total, at, _ in asked] == [say for *_, say in asked]
