"""Items that fail by themselves: put off, with growing pauses, while all others have their turn."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, ClientVanished, StoreError
from imaged.core.lifecycle import Status
from imaged.services import reclaimer, scrubber
from imaged.services.periodic import ITEM_RETRIES, ItemBackoff, run_all_steps
from support.bodies import send_broken
from support.cluster import Cluster
from support.faults import catalog_fails, fails_for, override_calls, store_fails
from support.node import A, B, image_id
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

SILENCE = 61
DAY = 24 * 3600


async def fine() -> str:
    """Works."""
    await anyio.lowlevel.checkpoint()
    return "done"


async def test_pauses_grow_up_to_a_minute_and_end_with_a_success(cluster: Cluster) -> None:
    """Between two tries; when the trouble is over, nothing waits longer than a lease."""
    postponed, tries = ItemBackoff("look", cluster.catalog.check), list[float]()

    async def broken() -> None:
        tries.append(elapsed())
        await catalog_fails()

    for _ in range(400):
        await postponed.try_item("a", broken)
        await anyio.sleep(1)
    pauses = [after - before for before, after in pairwise(tries)]

    assert pauses[:4] == [10, 20, 40, 60]
    assert set(pauses[3:]) == {ITEM_RETRIES.longest_pause.total_seconds()}
    assert (len(postponed), postponed.failures) == (1, len(tries))
    await anyio.sleep(60)
    assert await postponed.try_item("a", fine) == "done"
    assert (len(postponed), postponed.troubles) == (0, [])


async def test_others_have_their_turn_meanwhile(cluster: Cluster) -> None:
    """An item that waits is not even tried; the others are."""
    postponed = ItemBackoff("look", cluster.catalog.check)
    await postponed.try_item("a", catalog_fails)
    assert postponed.is_waiting("a")
    assert await postponed.try_item("a", fine) is None
    assert await postponed.try_item("b", fine) == "done"
    assert postponed.troubles == ["look: a failed 1 times: The catalog does not answer."]


async def test_it_is_told_once_until_it_changes(cluster: Cluster) -> None:
    """With the traceback where it is a mistake of ours."""
    postponed = ItemBackoff("look", cluster.catalog.check)

    async def mistaken() -> None:
        raise ZeroDivisionError("x")

    with capture_logs() as lines:
        for work in (store_fails, store_fails, mistaken):
            await postponed.try_item("a", work)
            await anyio.sleep(100)

    assert [line["event"] for line in lines] == ["item.put_off"] * 2
    assert [line["exc_info"] is None for line in lines] == [True, False]


async def test_a_catalog_that_is_away_is_no_matter_of_one_item() -> None:
    """The round ends, and nothing is put off."""
    postponed = ItemBackoff("look", catalog_fails)
    with pytest.raises(CatalogError):
        await postponed.try_item("a", catalog_fails)
    assert not len(postponed)


@pytest.mark.parametrize("other_fails", [True, False])
async def test_an_item_that_others_dealt_with_is_forgotten(
    cluster: Cluster, *, other_fails: bool
) -> None:
    """It never comes again, and is not reported any more, whether another item fails or not."""
    postponed = ItemBackoff("look", cluster.catalog.check)
    await postponed.try_item("a", store_fails)
    assert postponed.troubles
    await anyio.sleep(3600)
    if other_fails:
        await postponed.try_item("b", store_fails)
    assert len(postponed.troubles) == len(postponed) == other_fails


async def test_a_step_that_fails_ends_no_other_one() -> None:
    """The first failure is told when all have had their turn."""
    done: list[str] = []

    async def note(name: str) -> None:
        done.append(name)

    with pytest.raises(StoreError):
        await run_all_steps(partial(note, "a"), store_fails, catalog_fails, partial(note, "b"))

    assert done == ["a", "b"]


# rounds of each service


async def test_a_lease_that_cannot_be_taken_back_keeps_no_other(cluster: Cluster) -> None:
    """The row of one image is locked; 150 others are taken back in the same round."""
    for number in range(1, 151):
        await cluster.killed(image_id(number))
    await anyio.sleep(SILENCE)
    node = cluster.node(fault=fails_for(cluster.catalog.modify_image, image_id(1)))
    assert await node.reclaimer.run_due() == 149
    assert node.reclaimer.postponed.troubles
    assert await cluster.node().reclaimer.run_due() == 1


async def test_an_image_that_cannot_expire_keeps_no_other(cluster: Cluster) -> None:
    """Nor the bytes that are doomed, nor the records to bury."""
    for one in (A, B):
        await cluster.active(one)
        await cluster.node().delete(one)
    await cluster.doomed(7)
    await anyio.sleep(3600)
    node = cluster.node(fault=fails_for(cluster.catalog.modify_image, A))

    report = await node.scrubber.run_due()

    assert (report.expired, report.deleted) == (1, 2)
    assert (await cluster.image(A)).status is Status.PENDING_DELETE
    assert (await cluster.image(B)).status is Status.DELETED


async def test_staged_bytes_that_cannot_go_keep_no_others(cluster: Cluster) -> None:
    """The oldest one cannot be changed; the next one is let go."""
    for one in (A, B):
        await cluster.queued(one)
        await cluster.node().stage(one)
    await anyio.sleep(DAY)
    node = cluster.node(fault=fails_for(cluster.catalog.modify_image, A))

    await node.reclaimer.run_due()

    assert [(await cluster.image(one)).status for one in (A, B)] == [
        Status.UPLOADING,
        Status.QUEUED,
    ]


async def lapsed(cluster: Cluster, one: str) -> None:
    """The uploader of an image is silent."""
    await cluster.killed(one)


async def staged(cluster: Cluster, one: str) -> None:
    """Bytes wait for their import."""
    await cluster.queued(one)
    await cluster.node().stage(one)


async def broken_off(cluster: Cluster, one: str) -> None:
    """An upload is remembered."""
    await cluster.queued(one)
    with pytest.raises(ClientVanished):
        await cluster.node().upload(one, send_broken(ClientVanished()))


async def deleted(cluster: Cluster, one: str) -> None:
    """An image may be restored for a while."""
    await cluster.active(one)
    await cluster.node().delete(one)


@pytest.mark.parametrize("make", [lapsed, staged, broken_off, deleted])
async def test_items_that_wait_do_not_fill_a_batch(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, make: Callable[..., Awaitable[None]]
) -> None:
    """As many as one batch has cannot be changed: the next item is found behind them."""
    monkeypatch.setattr(reclaimer, "RECLAIM_BATCH", 1)
    monkeypatch.setattr(scrubber, "SCRUB_BATCH", 1)
    for one in (A, B):
        await make(cluster, one)
        await anyio.sleep(1)
    before = await cluster.image(B)
    await anyio.sleep(2 * DAY)
    node = cluster.node(fault=fails_for(cluster.catalog.modify_image, A))

    for _ in range(2):
        await node.reclaimer.run_due()
        await node.scrubber.run_due()

    assert await cluster.image(B) != before


async def test_a_mistake_over_one_blob_keeps_no_other(cluster: Cluster) -> None:
    """A store driver that stumbles over one key."""
    first, second = await cluster.doomed(1, 2)

    async def stumbles(key: str, *_: object) -> None:
        if key == first:
            raise KeyError(key)
        await cluster.near.delete(key)

    node = cluster.node(near=override_calls(cluster.near, delete=stumbles))
    report = await node.scrubber.run_due()

    assert report.deleted == 1
    assert set(cluster.catalog.blobs) == {first}
    assert second not in cluster.keys
