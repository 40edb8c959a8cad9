"""The runner: so many at once, owners in turn, and what becomes of what cannot be finished."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.access import Caller
from imaged.core.block import Block
from imaged.core.claim import Claim, InstanceId
from imaged.core.errors import (
    ImagedError,
    SecretKeyUnavailable,
    SecretUnreadable,
    TaskFailed,
    TaskFinal,
    TooLarge,
)
from imaged.core.lifecycle import Status
from imaged.core.task import Task, TaskChange, TaskFacts, TaskStatus, claim_task, give_back_task
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.task_type import Accepted, Example, TaskInput, TaskResult
from support.bodies import BODY, unreadable_body
from support.callers import ADMIN, OWNER, STRANGER
from support.cluster import Cluster
from support.faults import catalog_fails, from_nth, nth, override_calls, pause
from support.node import LEASE, RENEW_EVERY, A, Node
from support.reversed_secret_box import ReversedSecretBox
from support.sample_images import draft
from support.settings import configured
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio


class WaitInput(TaskInput):
    """How long."""

    seconds: float = 10
    token: str = ""


class WaitResult(TaskResult):
    """How long it was, and what was read of the secret."""

    seconds: float
    token: str


class Wait:
    """Waits; ``also`` happens in the middle of it."""

    facts = TaskFacts("wait", secrets=frozenset({"token"}))
    input = WaitInput
    example = Example(WaitInput(), WaitResult(seconds=10, token=""))

    def __init__(self, also: Callable[[TaskContext], Awaitable[None]] | None = None) -> None:
        self._also = also
        self.running: Counter[str] = Counter()
        self.begun: list[str] = []
        self.most = 0

    async def accept(self, caller: Caller, asked: WaitInput) -> Accepted:
        """Every caller may wait."""
        del caller, asked
        return Accepted()

    async def run(self, context: TaskContext, asked: WaitInput) -> WaitResult:
        """Wait."""
        self.running[context.task.owner] += 1
        self.begun.append(context.task.owner)
        self.most = max(self.most, self.running.total())
        try:
            await context.progress("waiting", 0, 100)
            await anyio.sleep(asked.seconds / 2)
            if self._also is not None:
                await self._also(context)
            await anyio.sleep(asked.seconds / 2)
        finally:
            self.running[context.task.owner] -= 1
        return WaitResult(seconds=asked.seconds, token=asked.token)


class Make(Wait):
    """Makes an image, after a while."""

    facts = TaskFacts("make", max_attempts=2)

    async def accept(self, caller: Caller, asked: WaitInput) -> Accepted:
        """The image is the same for all."""
        del asked
        return Accepted(new_image=draft(A, caller.project))

    async def run(self, context: TaskContext, asked: WaitInput) -> WaitResult:
        """Wait, and write it."""
        result = await super().run(context, asked)
        async with aclosing(_body()) as body:
            await context.store(body)
        return result


class Nap(Wait):
    """Waits too, under another name."""

    facts = TaskFacts("nap")


class Blink(Wait):
    """So brief that it is done at once."""

    facts = TaskFacts("blink")

    async def accept(self, caller: Caller, asked: WaitInput) -> Accepted:
        """Every caller may."""
        del caller, asked
        return Accepted(is_brief=True)


async def _body() -> AsyncGenerator[bytes]:
    yield BODY


async def ask(
    node: Node, type_name: str = "wait", caller: Caller = OWNER, **fields: object
) -> Task:
    """Ask for a task."""
    return await node.task_service.create(caller, type_name, fields, "req-1")


# how much at once, and in which order


@pytest.mark.rule("tasks.9", "tasks.11")
async def test_the_number_that_runs_at_once(cluster: Cluster) -> None:
    """Not more than there is room for, of all types; and when one ends, the next begins at once."""
    seen: list[int] = []

    async def also(_: TaskContext) -> None:
        seen.append(len(node.runner.running))

    wait, nap = Wait(also), Nap(also)
    settings = configured(RunnerSettings, concurrency=3, poll_every=timedelta(seconds=1000))
    node = cluster.node(types=[wait, nap], tasks=settings)
    for number in range(10):
        await ask(node, ("wait", "nap")[number % 2], seconds=10 + number)
    cluster.start(node.runner.serve())

    await anyio.sleep(56)

    assert max(seen) == 3
    assert len(wait.begun) == len(nap.begun) == 5
    await anyio.sleep(100)
    assert not node.runner.running


@pytest.mark.rule("tasks.10")
async def test_a_type_may_have_less_room(cluster: Cluster) -> None:
    """The rest is for others."""
    wait, make = Wait(), Make()
    settings = configured(RunnerSettings, concurrency=3, limits={"wait": 1})
    node = cluster.node(types=[wait, make], tasks=settings)
    for _ in range(3):
        await ask(node)
    await ask(node, "make")
    cluster.start(node.runner.serve())

    await anyio.sleep(5)
    assert (wait.running.total(), make.running.total()) == (1, 1)
    await anyio.sleep(40)
    assert len(wait.begun) == 3
    assert wait.most == 1


@pytest.mark.rule("tasks.13")
async def test_owners_take_turns(cluster: Cluster) -> None:
    """One task of an owner does not wait for all earlier ones of another."""
    wait = Wait()
    node = cluster.node(types=[wait], tasks=configured(RunnerSettings, concurrency=1))
    for _ in range(4):
        await ask(node, caller=OWNER)
        await anyio.sleep(0.01)
    await ask(node, caller=STRANGER)
    cluster.start(node.runner.serve())

    await anyio.sleep(60)

    assert wait.begun == ["p1", "p2", "p1", "p1", "p1"]


@pytest.mark.rule("tasks.12")
async def test_a_task_begins_at_once_where_it_was_asked_for(cluster: Cluster) -> None:
    """And after a poll, if another process asked."""
    wait = Wait()
    settings = configured(RunnerSettings, poll_every=timedelta(seconds=100))
    node = cluster.node(types=[wait], tasks=settings)
    cluster.start(node.runner.serve())
    await anyio.sleep(1)

    await ask(node)
    await anyio.sleep(0.1)
    assert wait.running.total() == 1

    await ask(cluster.node("other", types=[Wait()]))
    await anyio.sleep(1)
    assert wait.running.total() == 1
    await anyio.sleep(120)
    assert len(wait.begun) == 2


async def test_brief_tasks_go_first(cluster: Cluster) -> None:
    """Where it was asked for, and before all that others have asked for."""
    wait, blink = Wait(), Blink()
    node = cluster.node(types=[wait, blink], tasks=configured(RunnerSettings, concurrency=2))
    cluster.start(node.runner.serve_brief_only())
    await anyio.sleep(1)
    for _ in range(3):
        await ask(node, caller=OWNER)
    asked = await ask(node, "blink", seconds=1)

    await anyio.sleep(2)

    assert (await cluster.catalog.get_task(asked.id)).status is TaskStatus.SUCCESS
    assert (blink.begun, wait.begun) == (["p1"], [])  # others are not its business here


@pytest.mark.parametrize(
    "settings",
    [configured(RunnerSettings, concurrency=1), configured(RunnerSettings, limits={"blink": 1})],
)
async def test_brief_tasks_wait_without_room(cluster: Cluster, settings: RunnerSettings) -> None:
    """For a look at what waits, as everything does."""
    blink = Blink()
    node = cluster.node(types=[blink], tasks=settings)
    cluster.start(node.runner.serve_brief_only())
    await anyio.sleep(1)
    for _ in range(3):
        await ask(node, "blink", seconds=1)
    await anyio.sleep(2)
    assert len(blink.begun) == 1

    await cluster.node("other", types=[blink]).run_tasks()
    assert (len(blink.begun), blink.most) == (3, 2)


@pytest.mark.rule("tasks.15")
async def test_a_stopping_node_takes_nothing(cluster: Cluster) -> None:
    """Nor does one that has not begun to work."""
    blink = Blink()
    node = cluster.node(types=[blink])
    waiting = await ask(node, "blink")
    cluster.start(node.runner.serve_brief_only())
    await anyio.sleep(1)
    node.runner.stop_claiming()
    assert not node.runner.start_now(waiting)  # before the loop has noticed
    await ask(node, "blink")

    await anyio.sleep(1)

    assert not blink.begun
    assert await node.runner.is_due()


async def test_a_node_does_what_it_knows(cluster: Cluster) -> None:
    """A type that only others have waits for them."""
    await ask(cluster.node("other", types=[Wait()]))
    assert await cluster.node().run_tasks() == 0
    assert await cluster.node("third", types=[Wait()]).run_tasks() == 1


@pytest.mark.parametrize(
    "error", [SecretKeyUnavailable("/etc/task.key", "no such file"), SecretUnreadable()]
)
async def test_a_secret_that_cannot_be_read_here_is_left_to_others(
    cluster: Cluster, error: ImagedError
) -> None:
    """Without the key, or with another one, a node ends no task: a node with the key does."""

    class Locked(ReversedSecretBox):
        def open(self, sealed: bytes) -> bytes:
            del sealed
            raise error

    keyless = cluster.node("keyless", types=[Wait()])
    vars(keyless.runner)["_seal"] = Locked()
    asked = await ask(cluster.node("asked", types=[Wait()]), seconds=4, token="s3cret")

    assert await keyless.run_tasks() == 0
    async with anyio.create_task_group() as working:
        working.start_soon(keyless.runner.serve_brief_only)
        await anyio.sleep(1)
        assert not keyless.runner.start_now(asked)
        working.cancel_scope.cancel()
    assert (await cluster.catalog.get_task(asked.id)).status is TaskStatus.PENDING
    assert await cluster.node("owner", types=[Wait()]).run_tasks() == 1


# how they end


@pytest.mark.rule("tasks.18")
async def test_a_task_keeps_its_result_and_its_caller(cluster: Cluster) -> None:
    """All that was asked for, and what came of it; the secret is read once, and dropped."""
    node = cluster.node(types=[Wait()])
    asked = await ask(node, seconds=4, token="s3cret")
    assert "token" not in asked.input
    assert asked.sealed is not None
    assert b"s3cret" not in asked.sealed

    await node.run_tasks()
    task = await cluster.catalog.get_task(asked.id)

    assert task.status is TaskStatus.SUCCESS
    assert task.result == {"seconds": 4, "token": "s3cret"}
    assert task.sealed is None
    assert (task.owner, task.user_id, task.roles) == ("p1", "ann", ("member", "reader"))
    assert (task.request_id, task.attempts) == ("req-1", 1)


@pytest.mark.parametrize("in_group", [False, True])
async def test_a_failure_that_explains_itself(cluster: Cluster, *, in_group: bool) -> None:
    """Its sentence is the message, also if a task group was in between."""

    async def fail() -> None:
        raise TaskFailed("The page is not there.")

    async def also(_: TaskContext) -> None:
        if not in_group:
            await fail()
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            group.start_soon(anyio.sleep, 99)

    node = cluster.node(types=[Wait(also)])
    asked = await ask(node)
    await node.run_tasks()

    task = await cluster.catalog.get_task(asked.id)
    assert (task.status, task.result, task.attempts) == (TaskStatus.FAILURE, None, 1)
    assert task.message == "The page is not there."


async def test_a_mistake_of_ours_is_told_in_the_log(cluster: Cluster) -> None:
    """Its owner reads that it was one; and others go on."""

    async def also(_: TaskContext) -> None:
        raise ZeroDivisionError

    node = cluster.node(types=[Wait(also)])
    asked = await ask(node)
    with capture_logs() as lines:
        await node.run_tasks()

    task = await cluster.catalog.get_task(asked.id)
    assert task.message == "The server made a mistake; its log has the details."
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["task.crashed"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_type_that_breaks_off_without_being_cancelled(cluster: Cluster) -> None:
    """What it waited for was cancelled, and not the attempt: a mistake that stops no other."""

    async def also(context: TaskContext) -> None:
        if context.caller.user == STRANGER.user:
            raise CancelledError

    node = cluster.node(types=[Wait(also)])
    asked = [await ask(node, caller=caller, seconds=0.01) for caller in (STRANGER, OWNER)]
    await node.run_tasks()

    broken, done = [await cluster.catalog.get_task(task.id) for task in asked]
    assert broken.message == "The server made a mistake; its log has the details."
    assert done.status is TaskStatus.SUCCESS


async def test_a_silent_catalog_is_no_failure(cluster: Cluster) -> None:
    """The task is given back, and the attempt counts."""
    modify = nth(cluster.catalog.modify_task, 2, before=catalog_fails)
    node = cluster.node(types=[Wait()], catalog=override_calls(cluster.catalog, modify_task=modify))
    asked = await ask(node)
    assert await node.run_tasks() == 0
    task = await cluster.catalog.get_task(asked.id)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 1)
    assert await node.run_tasks() == 1


async def test_a_finish_whose_reply_is_lost_is_a_success(cluster: Cluster) -> None:
    """The catalog is asked before a failure is reported."""
    modify = nth(cluster.catalog.modify_task, 2, after=catalog_fails)
    node = cluster.node(types=[Wait()], catalog=override_calls(cluster.catalog, modify_task=modify))
    await ask(node)
    assert await node.run_tasks() == 1
    cluster.audit()


@pytest.mark.rule("tasks.7")
async def test_a_task_that_cannot_begin_fails(cluster: Cluster) -> None:
    """Instead of waiting without end: its image was taken from it by an older version."""
    node = cluster.node(types=[Make()])
    asked = await ask(node, "make")
    cluster.catalog.images[A] = replace(cluster.catalog.images[A], status=Status.QUEUED, task=None)
    assert await node.run_tasks() == 0
    task = await cluster.catalog.get_task(asked.id)
    assert task.status is TaskStatus.FAILURE


async def test_a_task_claimed_meanwhile_is_not_refused(cluster: Cluster) -> None:
    """One picks it up, so another may not; and it waits again before that one says so."""
    asked = await ask(cluster.node(types=[Wait()]))
    claim = Claim(uuid4(), InstanceId("other"), LEASE)

    async def pick_up(*_: object) -> None:
        await cluster.catalog.modify_task(asked.id, lambda task: claim_task(task, claim))

    async def give_back(*_: object) -> None:
        change = give_back_task(claim, "It was stopped.", final=False, counts=False)
        await cluster.catalog.modify_task(asked.id, change)

    modify = nth(cluster.catalog.modify_task, 1, before=pick_up)
    modify = nth(modify, 2, before=give_back)
    late = cluster.node(
        "late", types=[Wait()], catalog=override_calls(cluster.catalog, modify_task=modify)
    )
    await late.run_tasks()
    await cluster.node("next", types=[Wait()]).run_tasks()

    assert (await cluster.catalog.get_task(asked.id)).status is TaskStatus.SUCCESS


async def test_a_task_that_was_found_before_it_is_handed_over(cluster: Cluster) -> None:
    """The look at what waits sees it before the one who accepts it hears that it is stored."""
    blink = Blink()
    node = cluster.node(types=[blink], fault=nth(cluster.catalog.add_task, 1, after=pause(5)))
    serving = cluster.start(node.runner.serve())
    asked = await ask(node, "blink", seconds=20)
    await anyio.sleep(60)

    assert blink.begun == ["p1"]
    assert (await cluster.catalog.get_task(asked.id)).status is TaskStatus.SUCCESS
    serving.ignore()
    await ask(node, "blink", seconds=1)
    await anyio.sleep(10)
    assert len(blink.begun) == 2  # it goes on


async def test_a_task_that_cannot_be_claimed_keeps_no_other_waiting(cluster: Cluster) -> None:
    """Its row is locked, perhaps. It is put off, told, and done when the trouble is over."""
    wait = Wait()
    first = await ask(cluster.node(types=[wait]))
    locked = {first.id}

    async def modify(task_id: str, change: TaskChange) -> Task:
        await (catalog_fails if task_id in locked else pause(0))()
        return await cluster.catalog.modify_task(task_id, change)

    catalog = override_calls(cluster.catalog, modify_task=modify)
    node = cluster.node(
        types=[wait], catalog=catalog, tasks=configured(RunnerSettings, concurrency=1)
    )
    second = await ask(node)
    cluster.start(node.runner.serve()).ignore()
    await anyio.sleep(30)

    assert (await cluster.catalog.get_task(second.id)).status is TaskStatus.SUCCESS
    assert "does not answer" in node.runner.postponed.troubles[0]
    locked.clear()
    await anyio.sleep(90)
    assert (await cluster.catalog.get_task(first.id)).status is TaskStatus.SUCCESS
    assert not node.runner.postponed.troubles


# when the worker goes


@pytest.mark.rule("tasks.14")
async def test_a_worker_that_is_stopped_gives_back_at_once(cluster: Cluster) -> None:
    """Its lease is given back, and the attempt does not count."""
    node = cluster.node(types=[Make()])
    asked = await ask(node, "make")
    with anyio.move_on_after(3):
        await node.runner.serve()

    task = await cluster.catalog.get_task(asked.id)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 0)
    assert (await cluster.image(A)).status is Status.IMPORTING
    assert await cluster.node(types=[Make()]).run_tasks() == 1


@pytest.mark.rule("tasks.15")
async def test_stopping_begins_nothing_new(cluster: Cluster) -> None:
    """What is under way may end."""
    wait = Wait()
    node = cluster.node(types=[wait], tasks=configured(RunnerSettings, concurrency=1))
    for _ in range(2):
        await ask(node)
    cluster.start(node.runner.serve())
    await anyio.sleep(1)

    node.runner.stop_claiming()
    await anyio.sleep(100)

    assert len(wait.begun) == 1
    statuses = Counter(task.status for task in cluster.catalog.tasks.values())
    assert statuses == {TaskStatus.SUCCESS: 1, TaskStatus.PENDING: 1}


@pytest.mark.parametrize("type_name", ["wait", "make"])
@pytest.mark.rule("tasks.3", "tasks.16")
async def test_a_task_survives_its_worker(cluster: Cluster, type_name: str) -> None:
    """One lease after it was killed, another picks it up; and the attempts are limited."""
    asked = await ask(cluster.node(types=[Wait(), Make()]), type_name)
    most = asked.max_attempts
    for attempt in range(1, most + 1):
        await die_in_attempt(cluster)
        assert (await cluster.catalog.get_task(asked.id)).status is TaskStatus.PROCESSING
        await cluster.settle(2 * LEASE.total_seconds())
        assert (await cluster.catalog.get_task(asked.id)).attempts == attempt

    task = await cluster.catalog.get_task(asked.id)
    assert task.status is TaskStatus.FAILURE
    assert task.message == (
        f"The server that was working on it went silent. That was attempt {most}, the last one."
    )
    if type_name == "make":
        assert (await cluster.image(A)).status is Status.DELETED
    assert not cluster.keys
    assert not cluster.catalog.leases


# cancelling


@pytest.mark.parametrize("type_name", ["wait", "make"])
@pytest.mark.rule("tasks.17")
async def test_cancelling_stops_the_work_here_at_once(cluster: Cluster, type_name: str) -> None:
    """The record names the caller that cancelled; the draft is gone."""
    wait, make = Wait(), Make()
    node = cluster.node(types=[wait, make])
    asked = await ask(node, type_name, seconds=1000)
    cluster.start(node.runner.serve())
    await anyio.sleep(1)
    before = elapsed()

    task = await node.task_service.cancel(OWNER, asked.id)
    await anyio.sleep(0.001)

    assert elapsed() - before < 0.1
    assert not node.runner.running
    assert wait.running.total() + make.running.total() == 0
    assert (task.status, task.message) == (TaskStatus.FAILURE, "It was cancelled by ann.")
    with pytest.raises(TaskFinal):
        await node.task_service.cancel(OWNER, asked.id)
    cluster.audit()


@pytest.mark.rule("tasks.17")
async def test_cancelling_wakes_the_worker_of_this_instance(cluster: Cluster) -> None:
    """A process of its own, which looks at once whether its claims stand."""
    service = cluster.node(types=[Wait()]).task_service
    asked = await service.create(OWNER, "wait", {})
    await service.wakeup.pause(timedelta(0))  # of its creation
    before = elapsed()

    await service.cancel(OWNER, asked.id)
    await service.wakeup.pause(timedelta(days=1))

    assert elapsed() - before < 1


@pytest.mark.parametrize("type_name", ["wait", "make"])
async def test_cancelling_stops_the_work_elsewhere_soon(cluster: Cluster, type_name: str) -> None:
    """Within one renewal."""
    wait, make = Wait(), Make()
    elsewhere = cluster.node("elsewhere", types=[wait, make])
    asked = await ask(elsewhere, type_name, seconds=1000)
    cluster.start(elsewhere.runner.serve())
    await anyio.sleep(1)

    await cluster.node("here", types=[Wait(), Make()]).task_service.cancel(OWNER, asked.id)
    await anyio.sleep(RENEW_EVERY.total_seconds() + 1)

    assert wait.running.total() + make.running.total() == 0
    assert not elsewhere.runner.running


async def test_cancelling_what_waits(cluster: Cluster) -> None:
    """It never begins."""
    wait = Wait()
    node = cluster.node(types=[wait])
    asked = await ask(node)
    await node.task_service.cancel(ADMIN, asked.id)
    assert await node.run_tasks() == 0
    assert not wait.begun


# progress


@pytest.mark.rule("tasks.20")
async def test_progress_is_written_now_and_then(cluster: Cluster) -> None:
    """A new phase at once, and then once a second at most, however often it is told."""
    written = Counter[str]()

    async def count(_: str, __: int, progress: object) -> None:
        written[getattr(progress, "phase", "")] += 1

    async def also(context: TaskContext) -> None:
        for number in range(100):
            await context.progress("counting", number, 100)
            await anyio.sleep(0.1)

    node = cluster.node(
        types=[Wait(also)], catalog=override_calls(cluster.catalog, update_task_progress=count)
    )
    await ask(node)
    await node.run_tasks()

    assert written["waiting"] == 1
    assert 9 <= written["counting"] <= 11


async def test_the_same_progress_again_is_none(cluster: Cluster) -> None:
    """An attempt that only asks whether something has moved stalls."""

    async def also(context: TaskContext) -> None:
        while True:
            await context.progress("asking", 1, 100)
            await anyio.sleep(10)

    node = cluster.node(types=[Wait(also)])
    await ask(node)
    with capture_logs() as lines:
        cluster.start(node.runner.serve()).ignore()
        await anyio.sleep(node.runner.settings.stalled_after.total_seconds() + 60)

    assert [line["phase"] for line in lines if line["event"] == "task.stalled"] == ["asking"]


@pytest.mark.parametrize("when", ["with a chunk", "after the last one"])
async def test_a_body_that_limits_its_own_silence(cluster: Cluster, when: str) -> None:
    """It may be silent for long; what hangs with its bytes stalls all the same."""

    async def body() -> AsyncGenerator[bytes]:
        await anyio.sleep(10_000)
        yield BODY

    async def also(context: TaskContext) -> None:
        async with (
            aclosing(body()) as silent,
            aclosing(context.counted("reading", silent, has_own_timeout=True)) as chunks,
        ):
            async for _ in chunks:
                if when == "with a chunk":
                    await anyio.sleep_forever()
        await anyio.sleep_forever()

    node = cluster.node(types=[Wait(also)])
    await ask(node)
    with capture_logs() as lines:
        cluster.start(node.runner.serve()).ignore()
        await anyio.sleep(10_000 + node.runner.settings.stalled_after.total_seconds() + 60)

    assert [line["phase"] for line in lines if line["event"] == "task.stalled"] == ["reading"]


async def test_progress_that_is_not_heard_is_no_matter(cluster: Cluster) -> None:
    """The work goes on."""
    node = cluster.node(
        types=[Wait()], catalog=override_calls(cluster.catalog, update_task_progress=catalog_fails)
    )
    await ask(node)
    assert await node.run_tasks() == 1


@pytest.mark.rule("bytes.4")
async def test_a_body_announced_as_too_large_is_not_read(cluster: Cluster) -> None:
    """A task is held to the limit as an upload is."""

    async def store(context: TaskContext) -> None:
        await context.store(unreadable_body(), announced_bytes=101)

    limits = configured(IngestSettings, max_size_bytes=100)
    node = cluster.node(types=[Make(store)], stages=limits)
    asked = await ask(node, "make")

    await node.run_tasks()

    ended = await cluster.catalog.get_task(asked.id)
    assert ended.message == str(TooLarge(100))
    assert not cluster.keys


@pytest.mark.rule("bytes.3")
async def test_a_worker_frozen_for_long_leaves_a_row_for_its_bytes(cluster: Cluster) -> None:
    """It wakes when its row has gone, writes, and what it wrote is not forgotten."""

    async def frozen(key: str, blocks: AsyncIterator[Block], *_: object) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(300)
            size_bytes = await cluster.near.put(key, blocks)
        return size_bytes  # noqa: RET504 - a scope may swallow

    near = override_calls(cluster.near, put=frozen)
    worker = cluster.node("frozen", near=near, beats=False, types=[Make()])
    await ask(worker, "make", seconds=0)
    cluster.start(worker.runner.serve())
    await anyio.sleep(1)
    worker.runner.stop_claiming()
    await cluster.settle(250)
    assert not cluster.catalog.blobs
    await anyio.sleep(60)
    assert cluster.keys

    await cluster.settle()

    assert not cluster.keys
    assert not cluster.catalog.blobs


async def die_in_attempt(cluster: Cluster) -> None:
    """Pick up what waits, and be killed in the middle of it."""
    modify = from_nth(cluster.catalog.modify_image, 2, catalog_fails)
    modify_task = from_nth(cluster.catalog.modify_task, 2, catalog_fails)
    deaf = override_calls(cluster.catalog, modify_image=modify, modify_task=modify_task)
    dying = Node("dying", deaf, cluster.stores(), types=[Wait(), Make()])
    with anyio.move_on_after(1):
        try:
            await dying.run_tasks()
        except ImagedError:
            return
