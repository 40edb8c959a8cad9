"""Three nodes, one catalog, two stores, and a bad network: no history breaks an invariant.

Every history is a function of its seed; with ``PYTHONHASHSEED=0`` to the last step. More of them:

    IMAGED_SEEDS=1000-3000 PYTHONHASHSEED=0 python -m pytest tests/simulation

A seed that fails becomes a named test of its own in ``tests/services``.
"""

from __future__ import annotations

import os
from collections import Counter
from datetime import timedelta

import anyio
import pytest
from structlog.typing import EventDict

from imaged.core.ledger import StrayLimits
from imaged.core.lifecycle import Event
from imaged.ports.store import Stores
from imaged.services.periodic import run_periodically
from imaged.services.reconciler import ReconcileSettings, StoreReconciler
from imaged.services.tasks.runner import RunnerSettings
from simulation.network import (
    Killed,
    Network,
    NetworkedStore,
    SimulatedConnection,
    networked_catalog,
)
from simulation.simulated_cluster import LIMITS, SimulatedCluster
from support.node import RENEW_EVERY, FixedBlockBudget, Node
from support.settings import configured
from support.virtual_time import seed_randomness

NODES = ("x", "y", "z")
LIVES = 4  # of each node, one after the other; each but the last one ends with a kill
CLIENTS = 4  # of each node
FAULTY_SECONDS = 4000  # bad weather
QUIET_SECONDS = 4000  # good weather: long enough for everything to come to rest
AUDIT_EVERY_SECONDS = 5
KEEP_RECORDS = timedelta(seconds=3000)
RECONCILE = ReconcileSettings(
    every=timedelta(seconds=500),
    quarantine=timedelta(seconds=300),
    limits=configured(StrayLimits, max_share=0.9),  # in a small world a few blobs are many
)


def seeds() -> range:
    """The first twelve, or those between two numbers that the environment names."""
    first, _, last = os.environ.get("IMAGED_SEEDS", "0-12").partition("-")
    return range(int(first), int(last))


@pytest.mark.anyio
@pytest.mark.timeout(120)
@pytest.mark.parametrize("seed", seeds())
async def test_no_history_breaks_an_invariant(
    seed: int, monkeypatch: pytest.MonkeyPatch, crashes: list[EventDict]
) -> None:
    """Kills, silence, late messages: nothing is lost, stuck, left over, or said and not so."""
    world = SimulatedCluster(seed_randomness(seed, monkeypatch))
    trouble = await play(world, late_begins=bool(seed % 2))

    world.audit_settled()
    assert not crashes
    assert trouble.keys() >= {"slow", "refused", "late", "unanswered", "killed"}
    assert world.catalog.steps.keys() >= {Event.UPLOAD_SUCCEEDED, Event.IMPORT_SUCCEEDED}
    done = {task.type for task in world.catalog.tasks.values() if task.result is not None}
    assert done == {"api_image_import", "clone", "verify"}


@pytest.mark.anyio
async def test_a_seed_is_a_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed, the same history, to the last event: what failed once can be looked at."""
    histories = []
    for _ in range(2):
        world = SimulatedCluster(seed_randomness(7, monkeypatch))
        await play(world, late_begins=True, storm_seconds=2000, calm_seconds=0)
        histories.append((world.counts, world.catalog.steps, sorted(world.catalog.blobs)))
    assert histories[0] == histories[1]


async def play(
    world: SimulatedCluster,
    *,
    late_begins: bool,
    storm_seconds: float = FAULTY_SECONDS,
    calm_seconds: float = QUIET_SECONDS,
) -> Counter[str]:
    """Let three nodes live in this world; return what the network did to them."""
    await world.catalog.set_limits("p1", LIMITS)
    async with anyio.create_task_group() as tasks:
        network = Network(world.chance, tasks, late_begins=late_begins)
        for name in NODES:
            tasks.start_soon(live, name, world, network)
        await audit_repeatedly(world, storm_seconds)
        network.is_bad = False
        await audit_repeatedly(world, calm_seconds)
        tasks.cancel_scope.cancel()
    return network.counts


async def audit_repeatedly(world: SimulatedCluster, seconds: float) -> None:
    """Audit the world every few seconds."""
    for _ in range(int(seconds / AUDIT_EVERY_SECONDS)):
        world.audit()
        await anyio.sleep(AUDIT_EVERY_SECONDS)


async def live(name: str, world: SimulatedCluster, network: Network) -> None:
    """A node: several processes, one after the other."""
    for life in range(1, LIVES + 1):
        try:
            await run_process(f"{name}{life}", world, network, is_last=life == LIVES)
        except* Killed:
            network.counts["calls of the dead"] += 1


async def run_process(
    name: str, world: SimulatedCluster, network: Network, *, is_last: bool
) -> None:
    """A process: heartbeat, loops and clients, until it is killed."""
    wire = SimulatedConnection(network)
    stores = {store.name: NetworkedStore(store, wire) for store in world.stores.values()}
    catalog, budget = networked_catalog(world.catalog, wire), FixedBlockBudget(1024, fixed_bytes=64)
    node = Node(
        name,
        catalog,
        Stores("near", stores),
        budget=budget,
        delay=world.delay,
        keep_records=KEEP_RECORDS,
        tasks=configured(RunnerSettings, concurrency=3, poll_every=timedelta(seconds=15)),
    )
    small = ("",)  # all keys at a time
    node.reconcile = StoreReconciler(catalog, Stores("near", stores), RECONCILE, small)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(node.claims.renew_forever)
        tasks.start_soon(node.runner.serve)
        for duty, once, every in (
            ("reclaim", node.reclaimer.run_due, RENEW_EVERY),
            ("scrub", node.scrubber.run_due, timedelta(seconds=30)),
            ("expiry", node.task_service.expire_due, timedelta(hours=1)),
            ("reconcile", node.reconcile.run_due, RECONCILE.every),
        ):
            tasks.start_soon(run_periodically, duty, once, lambda every=every: every)
        for _ in range(CLIENTS):
            tasks.start_soon(run_client, node, world, network)
        if not is_last:
            await anyio.sleep(network.chance.uniform(100, FAULTY_SECONDS / 2))
            wire.is_dead = True
            network.counts["killed"] += 1
            tasks.cancel_scope.cancel()


async def run_client(node: Node, world: SimulatedCluster, network: Network) -> None:
    """Wish for something every now and then, while the weather is bad."""
    while network.is_bad:
        await anyio.sleep(network.chance.uniform(1, 60))
        await world.wish(node, network)
