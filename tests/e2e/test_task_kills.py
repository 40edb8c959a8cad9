"""Workers of tasks, killed at any call of a driver: every task ends, and nothing is left.

One worker dies for all types at once: each of its tasks goes on to a call of its own and stays
there (``support/kill_harness/daemon.py``), and when all are there, or have ended, the worker is
killed. Their leases are then made to be over, so that the test does not wait for them; that they
run out is tested elsewhere.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
import pytest_asyncio

from imaged.core.task import MAX_ATTEMPTS
from support.backend import FolderBackend, ServersBackend
from support.export_places import Place
from support.kill_harness.daemon import KillPoint
from support.kill_harness.harness import KillHarness, kill_harness
from support.kill_harness.outcome import KillCase, OutcomeCheck
from support.kill_harness.task_cases import TASK_CASES
from support.waiting import until

ROUNDS = int(os.environ.get("IMAGED_TEST_TASK_KILLS", "6"))  # of a death for each type of task
SEED = 11
CANCELLED_SHARE = 0.1
EARLY = KillPoint(2)  # picked up, and far from its end

pytestmark = [pytest.mark.asyncio, pytest.mark.timeout(600 + 60 * ROUNDS), pytest.mark.system]


@pytest_asyncio.fixture
async def here(
    backend: FolderBackend | ServersBackend, place: Place, tmp_path: Path
) -> AsyncIterator[KillHarness]:
    """Two stores and a destination of the kind, and a daemon in front."""
    assert shutil.which("qemu-img"), "install the Debian package qemu-utils"
    async with kill_harness(tmp_path, backend, place.settings, place.door) as here:
        yield here


async def test_kills_at_any_call(here: KillHarness) -> None:
    """Success, in the second attempt at the latest; or failure, where it was cancelled."""
    chance, check = random.Random(SEED), OutcomeCheck(here)
    counted = {await kind.ask(here, f"{name}-0"): name for name, kind in TASK_CASES.items()}
    totals = {counted[task_id]: n for task_id, n in (await here.count(counted)).items()}
    undisturbed = {
        task_id: KillCase(TASK_CASES[name], f"{name}-0") for task_id, name in counted.items()
    }
    await check.hold(undisturbed, await here.ends_of(counted))
    for number in range(1, ROUNDS + 1):
        cases = {}
        for name, kind in TASK_CASES.items():
            is_cancelled = chance.random() < CANCELLED_SHARE  # before it is nearly done
            last = totals[name] // 2 if is_cancelled else totals[name]
            point = KillPoint(chance.randint(1, last), is_cancelled)
            case = KillCase(kind, f"{name}-{number}", point)
            cases[await kind.ask(here, case.name)] = case

        await here.kill({task_id: case.point for task_id, case in cases.items()})

        await require_nothing_half_made(here, cases)
        async with here.working():
            await check.hold(cases, await here.ends_of(cases))


async def test_killed_again_and_again(here: KillHarness) -> None:
    """So many workers are lost, and then the task fails, and says why."""
    cases = {}
    for name, kind in TASK_CASES.items():
        most = MAX_ATTEMPTS if name != "convert" else MAX_ATTEMPTS - 1
        cases[await kind.ask(here, name)] = KillCase(kind, name, EARLY, most, ends=False)

    for attempt in range(MAX_ATTEMPTS):
        left = {task_id: case for task_id, case in cases.items() if attempt < case.attempts}
        await here.kill({task_id: case.point for task_id, case in left.items()})
        await require_nothing_half_made(here, cases)

    tasks = await here.ends_of(cases)  # the daemon in front sees to that
    for task_id, case in cases.items():
        assert tasks[task_id]["message"] == (
            "The server that was working on it went silent. "
            f"That was attempt {case.attempts}, the last one."
        )
    await OutcomeCheck(here).hold(cases, tasks)


async def test_tasks_from_before_a_restart(here: KillHarness) -> None:
    """No worker runs when it is asked for; the next worker is stopped in the middle, and one after
    it finishes everything. What was stopped in good order is no attempt.
    """
    cases = {
        await kind.ask(here, name): KillCase(kind, name, attempts=1)
        for name, kind in TASK_CASES.items()
    }
    assert await here.front.end() == 0
    await here.front.start()
    async with here.working():

        async def has_begun() -> bool:
            return '"from_status": "pending"' in here.worker.log_text()

        await until(has_begun, "no task begins")

    async with here.working():
        tasks = await here.ends_of(cases)

    await OutcomeCheck(here).hold(cases, tasks)


async def require_nothing_half_made(here: KillHarness, cases: Mapping[str, KillCase]) -> None:
    """The worker has just died: what is listed is whole, or an image that its client made."""
    listed = await here.client.list_all()
    called = [image for image in listed if image["name"] in {"import", "locations"}]
    others = [image["id"] for image in listed if image not in called]
    made = [
        task["result"]["image_id"]
        for task in [await here.tasks.show(task_id) for task_id in cases]
        if task["result"] and "image_id" in task["result"]
    ]
    assert {*others} <= {here.source_id, *made}
    assert {image["status"] for image in called} <= {"importing", "active", "queued", "uploading"}
