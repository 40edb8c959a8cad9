"""The reclaimer: work of dead holders is taken back, and staged data that nobody wants goes."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.errors import CatalogError, ClaimLost
from imaged.core.lifecycle import Status
from imaged.services.loops import repeat
from support.bodies import send
from support.faults import catalog_fails, detour, from_nth, nth
from support.node import LEASE, RENEW_EVERY, A, Node, image_id
from support.site import Site

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()


async def test_work_of_a_dead_holder_is_taken_back_in_time(site: Site) -> None:
    """Within its lease and two rounds; the image is queued and says why, and the retry works."""
    await site.queued(A)
    await kill_upload(site, A)
    node = site.node()
    site.start(repeat("reclaim", node.reclaimer.run_due, lambda: RENEW_EVERY))

    await anyio.sleep((LEASE + 2 * RENEW_EVERY).total_seconds())
    image = await site.image(A)

    assert image.status is Status.QUEUED
    assert image.last_failure is not None
    assert image.last_failure.reason == "The server that was working on it went silent."
    assert image.last_failure.at is not None
    assert (await node.upload(A, replaces=True)).status is Status.ACTIVE
    await site.settle()
    assert len(site.keys) == 1


async def test_a_living_holder_keeps_its_work(site: Site) -> None:
    """However long it takes, as long as it is renewed."""
    await site.queued(A)
    node = site.node()
    running = site.start(node.upload(A, send(chunks=40, every=10)))

    for _ in range(30):
        await anyio.sleep(10)
        assert await site.node("other", beats=False).reclaimer.run_due() == 0

    assert (await running.outcome()).status is Status.ACTIVE


async def test_work_is_taken_back_once(site: Site) -> None:
    """Two look at the same moment: one takes it back and says so, the other finds it done."""
    await site.queued(A)
    await kill_upload(site, A)
    await anyio.sleep(SILENCE + 1)
    nodes = [site.node(name) for name in ("a", "b")]

    with capture_logs() as logs:
        running = [site.start(node.reclaimer.run_due()) for node in nodes]
        counts = [await each.outcome() for each in running]

    assert sorted(counts) == [0, 1]
    assert [entry["event"] for entry in logs].count("claim.taken_back") == 1


async def test_one_round_takes_everything_back(site: Site) -> None:
    """However many batches that takes."""
    for number in range(1, 251):
        await site.queued(image_id(number))
        await kill_upload(site, image_id(number))
    await anyio.sleep(SILENCE + 1)

    assert await site.node().reclaimer.run_due() == 250
    assert {image.status for image in site.catalog.images.values()} == {Status.QUEUED}
    assert not site.catalog.leases


async def test_a_catalog_that_is_away_ends_the_round(site: Site) -> None:
    """Whoever runs the round is told, and the next one does it."""
    await site.queued(A)
    await kill_upload(site, A)
    await anyio.sleep(SILENCE + 1)

    away = detour(site.catalog, modify_image=catalog_fails, check=catalog_fails)
    with pytest.raises(CatalogError):
        await site.node(catalog=away).reclaimer.run_due()

    assert await site.node().reclaimer.run_due() == 1


@pytest.mark.parametrize(
    ("kill", "status"), [(True, Status.KILLED), (False, Status.QUEUED)], ids=["kill", "requeue"]
)
async def test_a_dead_holders_upload_is_killed_where_so_configured(
    site: Site, status: Status, *, kill: bool
) -> None:
    """A crash is a failure like others."""
    await site.queued(A)
    await kill_upload(site, A)
    await anyio.sleep(SILENCE + 1)

    await site.node(kill_uploads=kill).reclaimer.run_due()
    await site.settle()

    assert (await site.image(A)).status is status
    assert not site.keys


async def test_a_zombie_cannot_finish(site: Site) -> None:
    """Frozen past its lease, it wakes when its work was taken back: its bytes are refused."""
    await site.queued(A)

    async def frozen(*_: object) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(2 * SILENCE)

    put = nth(site.near.put, 1, after=frozen)
    zombie = site.node("zombie", near=detour(site.near, put=put), beats=False)
    running = site.start(zombie.upload(A))
    await anyio.sleep(SILENCE + 1)
    await site.node().reclaimer.run_due()
    image = await site.node("successor").upload(A, send(chunks=2), replaces=True)

    assert isinstance(await running.outcome(), ClaimLost)
    assert await site.image(A) == image
    await site.settle()
    assert site.keys == {image.locations[0].key}


# staged data


async def test_staged_data_that_nobody_imports_goes(site: Site) -> None:
    """After its time the image is queued again, and the bytes are freed."""
    await site.queued(A)
    node = site.node()
    node.reclaimer.staged_time_to_live = timedelta(hours=1)
    await node.stage(A)

    await anyio.sleep(3599)
    assert await node.reclaimer.run_due() == 0
    await anyio.sleep(1)
    assert await node.reclaimer.run_due() == 1

    assert (await site.image(A)).status is Status.QUEUED
    await site.settle()
    assert not site.keys


async def test_staged_data_may_take_long_to_come(site: Site) -> None:
    """Its time begins when it is whole, not while it is being sent."""
    await site.queued(A)
    node = site.node()
    node.reclaimer.staged_time_to_live = timedelta(seconds=60)
    running = site.start(node.stage(A, send(chunks=20, every=10)))

    for _ in range(22):
        assert await node.reclaimer.run_due() == 0
        await anyio.sleep(10)

    assert (await running.outcome()).status is Status.UPLOADING


async def test_staged_data_whose_import_began_meanwhile_stays(site: Site) -> None:
    """Asked for at the last moment: the import wins."""
    await site.queued(A)
    node = site.node()
    await node.stage(A)
    await anyio.sleep(100)

    async def asked(*_: object) -> None:
        await node.ask_import(A)

    modify = nth(site.catalog.modify_image, 1, before=asked)
    other = site.node("other", catalog=detour(site.catalog, modify_image=modify))
    other.reclaimer.staged_time_to_live = timedelta(seconds=60)

    assert await other.reclaimer.run_due() == 0
    await node.run_tasks()
    assert (await site.image(A)).status is Status.ACTIVE


async def test_what_was_staged_anew_meanwhile_stays(site: Site) -> None:
    """Another process let the old data go, and the client was quick: this is not what was seen."""
    await site.queued(A)
    node = site.node()
    node.reclaimer.staged_time_to_live = timedelta(seconds=60)
    await node.stage(A)
    await anyio.sleep(100)

    async def staged_anew(*_: object) -> None:
        await node.reclaimer.run_due()
        await node.stage(A)

    modify = nth(site.catalog.modify_image, 1, before=staged_anew)
    slow = site.node("slow", catalog=detour(site.catalog, modify_image=modify))
    slow.reclaimer.staged_time_to_live = timedelta(seconds=60)

    assert await slow.reclaimer.run_due() == 0
    assert (await site.image(A)).status is Status.UPLOADING


async def kill_upload(site: Site, image: str) -> None:
    """Begin an upload, and be killed: from then on nobody hears anything of it."""
    modify = from_nth(site.catalog.modify_image, 2, catalog_fails)
    deaf = detour(site.catalog, modify_image=modify, add_stray=catalog_fails)
    node = Node("dead", deaf, site.stores())
    with anyio.move_on_after(1):
        await node.upload(image, send(chunks=9, every=1), 82)
