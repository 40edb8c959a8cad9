"""Leases: a silent instance loses its work, and stops before others may act."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from imaged.core.errors import ClaimLost, ClientVanished
from imaged.core.lifecycle import Status
from support.bodies import send, send_broken
from support.cluster import Cluster
from support.faults import catalog_fails, from_nth, nth, override_calls, pause
from support.node import LEASE, RENEW_EVERY, A
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

SILENCE = LEASE.total_seconds()
ROUND = RENEW_EVERY.total_seconds()


@pytest.mark.rule("claims.4", "claims.5")
async def test_a_heartbeat_keeps_long_work_alive(cluster: Cluster) -> None:
    """The deadline of the work moves on with each renewal, for as long as it takes."""
    await cluster.queued(A)
    node = cluster.node()
    image = await node.upload(A, send(chunks=60, every=10))
    assert elapsed() > 9 * SILENCE
    assert image.status is Status.ACTIVE
    assert node.claims.held == 0


@pytest.mark.parametrize("beats", [True, False], ids=["no answer", "no heartbeat"])
@pytest.mark.rule("claims.7", "claims.8")
async def test_a_node_that_hears_nothing_stops_before_others_may_act(
    cluster: Cluster, *, beats: bool
) -> None:
    """It cannot renew, or does not: its writer is stopped while the lease still runs."""
    await cluster.queued(A)
    deaf = override_calls(cluster.catalog, renew_leases=catalog_fails)
    node = cluster.node(catalog=deaf, beats=beats)
    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=50, every=5))
    assert SILENCE - ROUND <= elapsed() < SILENCE
    assert (await cluster.image(A)).status is Status.QUEUED


@pytest.mark.rule("claims.5", "claims.10")
async def test_a_renewal_without_an_answer_does_not_hold_up_the_next(cluster: Cluster) -> None:
    """One renewal hangs; the next one, a little later, is in time."""
    await cluster.queued(A)
    node = cluster.node(fault=nth(cluster.catalog.renew_leases, 2, before=pause(1000)))
    image = await node.upload(A, send(chunks=20, every=10))
    assert image.status is Status.ACTIVE


async def test_renewals_that_fail_are_told_once(cluster: Cluster) -> None:
    """A silence is one event in the log, and so is the next one after an answer."""
    await cluster.queued(A)
    renew = nth(cluster.catalog.renew_leases, 3, before=catalog_fails)
    for number in (4, 5, 8):
        renew = nth(renew, number, before=catalog_fails)
    node = cluster.node(catalog=override_calls(cluster.catalog, renew_leases=renew))

    with capture_logs() as logs:
        await node.upload(A, send(chunks=12, every=10))

    told = [entry["log_level"] for entry in logs if entry["event"] == "lease.renewal_failed"]
    assert told == ["debug", "debug"]  # the outage has events of its own


async def test_a_renewal_that_hangs_is_told(cluster: Cluster) -> None:
    """A catalog that is slow, or hangs, is no outage yet, and nothing else tells of it."""
    await cluster.queued(A)
    node = cluster.node(fault=nth(cluster.catalog.renew_leases, 2, before=pause(1000)))
    with capture_logs() as logs:
        await node.upload(A, send(chunks=20, every=10))

    told = [entry for entry in logs if entry["event"] == "lease.renewal_failed"]
    assert [(entry["log_level"], entry["held"]) for entry in told] == [("warning", 1)]


@pytest.mark.rule("claims.7", "claims.8", "claims.9")
async def test_a_claim_that_came_late_is_not_trusted_for_longer(cluster: Cluster) -> None:
    """Trust counts from when the claim was asked for, not from when the answer came."""
    await cluster.queued(A)
    modify = nth(cluster.catalog.modify_image, 1, after=pause(ROUND - 1))
    node = cluster.node(catalog=override_calls(cluster.catalog, modify_image=modify), beats=False)
    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=100, every=1))
    assert elapsed() == SILENCE - ROUND


@pytest.mark.rule("claims.9")
async def test_a_claim_that_was_renewed_late_is_not_trusted_for_longer(cluster: Cluster) -> None:
    """A claim that took a whole round is renewed, and trusted since that was asked for."""
    await cluster.queued(A)
    modify = nth(cluster.catalog.modify_image, 1, after=pause(ROUND))
    renew = nth(cluster.catalog.renew_leases, 1, after=pause(ROUND - 1))
    changed = override_calls(cluster.catalog, modify_image=modify, renew_leases=renew)
    node = cluster.node(catalog=changed, beats=False)
    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=100, every=1))
    assert elapsed() == SILENCE  # a round for the claim, and then the trust: a round less


@pytest.mark.rule("claims.9")
async def test_a_renewal_that_came_late_is_not_trusted_for_longer(cluster: Cluster) -> None:
    """Nor is the answer to a renewal, which is the last one here."""
    await cluster.queued(A)
    asked_at: list[float] = []

    async def note(*_: object) -> None:
        asked_at.append(elapsed())

    renew = nth(cluster.catalog.renew_leases, 1, before=note, after=pause(ROUND - 1))
    renew = from_nth(renew, 2, catalog_fails)
    node = cluster.node(catalog=override_calls(cluster.catalog, renew_leases=renew))

    with pytest.raises(ClaimLost):
        await node.upload(A, send(chunks=50, every=5))

    assert elapsed() == asked_at[0] + SILENCE - ROUND


@pytest.mark.rule("claims.3", "claims.4")
async def test_only_what_is_held_is_renewed(cluster: Cluster) -> None:
    """Work that a living node dropped, and could not even give back, is taken back."""
    await cluster.queued(A)
    node = cluster.node(fault=from_nth(cluster.catalog.modify_image, 2, catalog_fails))

    with pytest.raises(ClientVanished):
        await node.upload(A, send_broken(ClientVanished()), 100)
    assert (await cluster.image(A)).status is Status.SAVING
    await cluster.settle()

    assert (await cluster.image(A)).status is Status.QUEUED
    assert not cluster.keys
