"""An upload breaks off, and its client sends only the rest: nothing that is not whole is taken."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from datetime import timedelta

import anyio
import pytest

from imaged.core.block import Block
from imaged.core.disk_format import FormatPolicy
from imaged.core.errors import (
    CatalogError,
    ClientVanished,
    FormatRefused,
    QuotaExceeded,
    RetryMismatch,
    SizeMismatch,
    StoreError,
    TooLarge,
)
from imaged.core.image import BrokenUpload, Change, Image
from imaged.core.lifecycle import Status
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.periodic import run_periodically
from support.bodies import cut
from support.cluster import Cluster
from support.faults import catalog_fails, override_calls, store_fails
from support.node import LEASE, RENEW_EVERY, A, FixedBlockBudget, Node
from support.quotas import limit_total
from support.settings import configured

pytestmark = pytest.mark.anyio

FILE = bytes(range(1, 200))
CUT = 70

Send = Callable[..., Awaitable[Image]]


@pytest.fixture(params=["upload", "stage"])
def way(request: pytest.FixtureRequest) -> str:
    """Both ways by which a client's body comes."""
    name: str = request.param
    return name


def by(node: Node, way: str) -> Send:
    """The call."""
    send: Send = getattr(node, way)
    return send


async def torn(data: bytes = FILE[:CUT], chunk_bytes: int = 7) -> AsyncGenerator[bytes]:
    """A body whose connection breaks off."""
    async for chunk in cut(data, chunk_bytes):
        yield chunk
    raise ClientVanished


async def break_off(cluster: Cluster, way: str, announced_bytes: int | None) -> BrokenUpload:
    """A client's body breaks off; what is remembered of it."""
    await cluster.queued(A)
    with pytest.raises(ClientVanished):
        await by(cluster.node(), way)(A, torn(), announced_bytes)
    return await cluster.broken_upload_of(A)


@pytest.mark.parametrize("first", [len(FILE), None])
@pytest.mark.parametrize("second", [True, False])
async def test_the_rest_is_refused_and_the_whole_is_taken(
    cluster: Cluster, way: str, first: int | None, second: bool
) -> None:
    """Announced or in chunks, uploaded or staged; a refused rest changes nothing of it."""
    broken = await break_off(cluster, way, first)
    assert (broken.announced_bytes, broken.received_bytes) == (first, CUT)

    for _ in range(2):
        rest = FILE[CUT:]
        with pytest.raises(RetryMismatch):
            await by(cluster.node(), way)(A, cut(rest, 7), len(rest) if second else None)
        image = await cluster.image(A)
        assert image.status is Status.QUEUED
        assert image.broken_upload == broken

    whole = await by(cluster.node(), way)(A, cut(FILE, 11), len(FILE) if second else None)
    assert whole.status is (Status.ACTIVE if way == "upload" else Status.UPLOADING)
    assert whole.broken_upload is None
    cluster.audit()


async def test_another_file_is_sent_on_purpose(cluster: Cluster, way: str) -> None:
    """With the word for it, and not without."""
    await break_off(cluster, way, len(FILE))
    other = FILE[::-1][:50]
    with pytest.raises(RetryMismatch):
        await by(cluster.node(), way)(A, cut(other, 7), len(other))
    image = await by(cluster.node(), way)(A, cut(other, 7), len(other), replaces=True)
    assert image.broken_upload is None
    assert image.charge_bytes == len(other)


async def test_the_longest_beginning_that_is_right_is_remembered(cluster: Cluster) -> None:
    """Of several attempts that broke off; a shorter one takes nothing back."""
    await break_off(cluster, "upload", None)
    for came, known in ((20, CUT), (120, 120), (100, 120)):
        with pytest.raises(ClientVanished):
            await cluster.node().upload(A, torn(FILE[:came]))
        assert (await cluster.broken_upload_of(A)).received_bytes == known


async def test_a_body_that_broke_off_in_its_first_block_is_remembered_to_the_byte(
    cluster: Cluster,
) -> None:
    """Less than a block had come, and was written nowhere."""
    await cluster.queued(A)
    node = cluster.node(budget=FixedBlockBudget(1024, fixed_bytes=1000))
    with pytest.raises(ClientVanished):
        await node.upload(A, torn())
    assert (await cluster.broken_upload_of(A)).received_bytes == CUT


@pytest.mark.parametrize("announced_bytes", [len(FILE), None])
async def test_a_holder_that_died_leaves_what_it_had_noted(
    cluster: Cluster, announced_bytes: int | None
) -> None:
    """It never gave anything back: the lease runs out, and the rest is refused all the same."""
    await cluster.queued(A)
    dies_at = anyio.current_time() + 15

    async def modify(image_id: str, change: Change) -> Image:
        if anyio.current_time() >= dies_at:
            raise CatalogError("A dead process writes nothing.")
        return await cluster.catalog.modify_image(image_id, change)

    deaf = override_calls(cluster.catalog, modify_image=modify, add_stray=catalog_fails)
    dying = cluster.node(catalog=deaf, beats=False, slice_bytes=10**6)
    with anyio.move_on_after(15):
        await dying.upload(A, cut(FILE, 7, every=1), announced_bytes)
    noted = await cluster.broken_upload_of(A)
    assert noted.announced_bytes == announced_bytes
    assert 0 < noted.received_bytes < 15 * 7

    node = cluster.node()
    cluster.start(run_periodically("reclaim", node.reclaimer.run_due, lambda: RENEW_EVERY))
    await anyio.sleep((LEASE + 2 * RENEW_EVERY).total_seconds())
    with pytest.raises(RetryMismatch):
        await node.upload(A, cut(FILE[105:], 7))
    assert (await node.upload(A, cut(FILE, 7))).status is Status.ACTIVE


@pytest.mark.parametrize(
    ("failing", "error"), [("store", StoreError), ("length", TooLarge), ("quota", QuotaExceeded)]
)
async def test_uploads_broken_off_by_us_are_remembered(
    cluster: Cluster, failing: str, error: type[Exception]
) -> None:
    """A store that fails, a limit that is met: the client may have been in the middle of it."""
    await cluster.queued(A)
    most = CUT if failing == "length" else 10**6
    await limit_total(cluster.catalog, "p1", CUT if failing == "quota" else None)
    near = override_calls(cluster.near, put=FailingPut(CUT)) if failing == "store" else None

    with pytest.raises(error):
        await cluster.node(
            near=near, stages=configured(IngestSettings, max_size_bytes=most)
        ).upload(A, cut(FILE, 7))
    await limit_total(cluster.catalog, "p1", None)

    with pytest.raises(RetryMismatch):
        await cluster.node().upload(A, cut(FILE[CUT:], 7))
    assert (await cluster.node().upload(A, cut(FILE, 7))).status is Status.ACTIVE


class FailingPut:
    """A store takes so many bytes, and then it fails."""

    __name__ = "put"

    def __init__(self, taken_bytes: int) -> None:
        self._left_bytes = taken_bytes

    async def __call__(self, key: str, blocks: AsyncIterable[Block], *_: object) -> None:
        """Take the blocks."""
        del key
        async for block in blocks:
            self._left_bytes -= block.size_bytes
            if self._left_bytes <= 0:
                break
        await store_fails()


async def test_nothing_sent_after_all_was_sent_is_no_empty_image(cluster: Cluster) -> None:
    """The whole file came, and then the store failed: its client is at the end of the file."""
    await cluster.queued(A)
    near = override_calls(cluster.near, put=FailingPut(10**6))
    with pytest.raises(StoreError):
        await cluster.node(near=near).upload(A, cut(FILE, 7))
    for announced_bytes in (0, None):
        with pytest.raises(RetryMismatch):
            await cluster.node().upload(A, cut(b"", 7), announced_bytes)

    assert (await cluster.node().upload(A, cut(FILE, 7), len(FILE))).status is Status.ACTIVE


async def test_a_whole_file_that_was_refused_is_not_asked_for_again(cluster: Cluster) -> None:
    """Another one is to be sent, and needs no special word."""
    await cluster.queued(A, disk_format="qcow2")
    with pytest.raises(FormatRefused):
        await cluster.node().upload(A, cut(FILE, 7))
    assert (await cluster.image(A)).broken_upload is None
    lax = configured(IngestSettings, formats=configured(FormatPolicy, check_format=False))
    other = cluster.node(stages=lax).upload(A, cut(b"something else", 7))
    assert (await other).status is Status.ACTIVE


async def test_a_wrong_announcement_is_not_held_against_the_next_body(cluster: Cluster) -> None:
    """The size in a header of the client's was wrong; the file is the same."""
    await cluster.queued(A)
    for announced_bytes in (len(FILE) - 1, len(FILE) + 1):
        with pytest.raises(SizeMismatch):
            await cluster.node().upload(A, cut(FILE, 7), announced_bytes, replaces=True)
        assert (await cluster.image(A)).broken_upload is not None
    assert (await cluster.node().upload(A, cut(FILE, 7), len(FILE))).status is Status.ACTIVE


@pytest.mark.parametrize(("announced_bytes", "whole_bytes"), [(None, CUT + 150), (200, 200)])
async def test_repeated_data_needs_a_length(
    cluster: Cluster, announced_bytes: int | None, whole_bytes: int
) -> None:
    """The rest of an empty disk looks like its beginning: only the length tells. The length of what
    was refused as the rest is remembered, and is how the whole is known.
    """
    await cluster.queued(A)
    with pytest.raises(ClientVanished):
        await cluster.node().upload(A, torn(bytes(CUT)))
    for length in (150, 150, CUT + 149, CUT + 151):
        with pytest.raises(RetryMismatch, match="repeat themselves"):
            await cluster.node().upload(A, cut(bytes(length), 7))
    remembered = await cluster.broken_upload_of(A)
    assert (remembered.received_bytes, remembered.refused_bytes) == (CUT, 150)
    if announced_bytes is not None:
        with pytest.raises(ClientVanished):
            await cluster.node().upload(A, torn(bytes(CUT)), announced_bytes, replaces=True)
        with pytest.raises(RetryMismatch):
            await cluster.node().upload(A, cut(bytes(150), 7))

    assert (await cluster.node().upload(A, cut(bytes(whole_bytes), 7))).status is Status.ACTIVE


async def test_it_is_forgotten_after_a_while(cluster: Cluster) -> None:
    """Counted from when it broke off, by the catalog's clock; a refused rest begins no new time."""
    await break_off(cluster, "upload", None)
    node = cluster.node()
    node.reclaimer.remember_broken = timedelta(hours=2)
    await anyio.sleep(3600)
    with pytest.raises(RetryMismatch):
        await node.upload(A, cut(FILE[CUT:], 7))
    assert await node.reclaimer.run_due() == 0
    await anyio.sleep(3601)

    assert await node.reclaimer.run_due() == 1
    assert await node.reclaimer.run_due() == 0

    assert (await cluster.image(A)).broken_upload is None
    assert (await node.upload(A, cut(FILE[CUT:], 7))).status is Status.ACTIVE


async def test_an_upload_under_way_is_not_forgotten(cluster: Cluster) -> None:
    """However long it takes: what is noted of it may be needed yet."""
    await cluster.queued(A)
    node = cluster.node()
    node.reclaimer.remember_broken = timedelta(seconds=1)
    running = cluster.start(node.upload(A, cut(FILE, CUT, every=50)))
    await anyio.sleep(40)
    assert await node.reclaimer.run_due() == 0
    assert (await running.outcome()).status is Status.ACTIVE


async def test_it_can_be_switched_off(cluster: Cluster) -> None:
    """Then nothing is remembered, and what was is not asked."""
    await break_off(cluster, "upload", len(FILE))
    node = cluster.node(stages=configured(IngestSettings, remembers_broken=False))
    with pytest.raises(ClientVanished):
        await node.upload(A, torn())
    assert (await cluster.image(A)).broken_upload is None
    assert (await node.upload(A, cut(FILE[CUT:], 7))).status is Status.ACTIVE
