"""What services count of their own work, for metrics."""

from __future__ import annotations

import anyio
import pytest

from imaged.core.errors import StoreError
from imaged.services.scrubber import ScrubReport
from support.bodies import BODY
from support.cluster import Cluster
from support.faults import override_calls, store_fails
from support.node import DELAY, LEASE, A

pytestmark = pytest.mark.anyio


async def test_a_scrubber_counts_over_all_its_rounds(cluster: Cluster) -> None:
    """What it deleted, what would not go, and nothing twice."""
    node = cluster.node()
    await cluster.doomed(1, 2)
    await node.scrubber.run_due()
    await cluster.doomed(3)
    await node.scrubber.run_due()
    await node.scrubber.run_due()
    assert node.scrubber.totals == ScrubReport(deleted=3, deleted_bytes=3 * len(BODY))


async def test_a_round_that_goes_on_is_counted_already(cluster: Cluster) -> None:
    """A long one would look like none at all."""
    await cluster.doomed(1, 2)
    count = 0

    async def delete(key: str, upload_id: str | None = None) -> None:
        nonlocal count
        count += 1
        if count > 1:
            await anyio.sleep_forever()
        await cluster.near.delete(key, upload_id)

    node = cluster.node(near=override_calls(cluster.near, delete=delete))
    cluster.start(node.scrubber.run_due()).ignore()
    await anyio.sleep(1)

    assert node.scrubber.totals.deleted == 1


async def test_failed_deletes_are_counted_each_time(cluster: Cluster) -> None:
    """As often as it was tried."""
    await cluster.doomed(1)
    node = cluster.node(near=override_calls(cluster.near, delete=store_fails))
    for _ in range(2):
        await node.scrubber.run_due()
        await anyio.sleep(DELAY.total_seconds())
    assert node.scrubber.totals == ScrubReport(failed=2)


async def test_a_reclaimer_counts_the_claims_that_it_took_back(cluster: Cluster) -> None:
    """Its own, and each of them once."""
    await cluster.killed(A)
    await anyio.sleep(LEASE.total_seconds() + 1)
    first, second = cluster.node("first"), cluster.node("second")
    for node in (first, second, first):
        await node.reclaimer.run_due()
    assert (first.reclaimer.taken_back, second.reclaimer.taken_back) == (1, 0)


async def test_reconcile_remembers_its_last_comparison(cluster: Cluster) -> None:
    """With the stores of which nothing was found out, because they failed."""
    await cluster.active(A)
    node = cluster.node()
    assert node.reconcile.last is None
    report = await node.reconcile.run_due()
    assert node.reconcile.last is report

    broken = cluster.node(near=override_calls(cluster.near, list_keys=fails_to_list))
    with pytest.raises(StoreError):
        await broken.reconcile.run_due()
    assert broken.reconcile.last is not None
    assert broken.reconcile.last.failed == {"near": "is down"}
    assert not broken.reconcile.last.missing


def fails_to_list(_prefix: str = "") -> None:
    """A store that is down."""
    raise StoreError("near", "is down")
