"""The runner: so many at once, owners in turn, and what becomes of what cannot be finished."""

from __future__ import annotations

from asyncio import CancelledError
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import anyio
import pytest
from structlog.testing import capture_logs

from imaged.core.access import Caller
from imaged.core.claim import Claim, InstanceId
from imaged.core.errors import ImagedError, SealBroken, SealMissing, TaskFailed, TaskFinal
from imaged.core.lifecycle import Status
from imaged.core.task import (
    Task,
    TaskChange,
    TaskFacts,
    TaskStatus,
    claim_task,
    give_back_task,
)
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.types import Example, TaskInput, TaskResult, Ticket
from support.bodies import BODY
from support.faults import catalog_fails, detour, from_nth, nth, pause
from support.node import ADMIN, LEASE, RENEW_EVERY, A, Node
from support.records import draft
from support.seal import MirrorSeal
from support.site import Site
from support.virtual_time import elapsed

pytestmark = pytest.mark.anyio

ANN = Caller("ann", "p1", frozenset({"member"}))
BEN = Caller("ben", "p2", frozenset({"member"}))


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

    async def accept(self, caller: Caller, asked: WaitInput) -> Ticket:
        """Everybody may wait."""
        del caller, asked
        return Ticket()

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

    async def accept(self, caller: Caller, asked: WaitInput) -> Ticket:
        """The image is the same for all."""
        del asked
        return Ticket(draft=draft(A, caller.project))

    async def run(self, context: TaskContext, asked: WaitInput) -> WaitResult:
        """Wait, and write it."""
        result = await super().run(context, asked)
        await context.store(_body())
        return result


class Nap(Wait):
    """Waits too, under another name."""

    facts = TaskFacts("nap")


class Blink(Wait):
    """So brief that it is done at once."""

    facts = TaskFacts("blink")

    async def accept(self, caller: Caller, asked: WaitInput) -> Ticket:
        """Everybody may."""
        del caller, asked
        return Ticket(is_brief=True)


async def _body() -> AsyncIterator[bytes]:
    yield BODY


async def ask(node: Node, type_name: str = "wait", caller: Caller = ANN, **fields: object) -> Task:
    """Ask for a task."""
    return await node.desk.create(caller, type_name, fields, "req-1")


# how much at once, and in which order


async def test_so_many_run_at_once(site: Site) -> None:
    """Not more than there is room for, of all types; and when one ends, the next begins at once."""
    seen: list[int] = []

    async def also(_: TaskContext) -> None:
        seen.append(len(node.runner.running))

    wait, nap = Wait(also), Nap(also)
    settings = RunnerSettings(concurrency=3, poll_every=timedelta(seconds=1000))
    node = site.node(types=[wait, nap], tasks=settings)
    for number in range(10):
        await ask(node, ("wait", "nap")[number % 2], seconds=10 + number)
    site.start(node.runner.serve())

    await anyio.sleep(56)

    assert max(seen) == 3
    assert len(wait.begun) == len(nap.begun) == 5
    await anyio.sleep(100)
    assert not node.runner.running


async def test_a_type_may_have_less_room(site: Site) -> None:
    """The rest is for others."""
    wait, make = Wait(), Make()
    settings = RunnerSettings(concurrency=3, limits={"wait": 1})
    node = site.node(types=[wait, make], tasks=settings)
    for _ in range(3):
        await ask(node)
    await ask(node, "make")
    site.start(node.runner.serve())

    await anyio.sleep(5)
    assert (wait.running.total(), make.running.total()) == (1, 1)
    await anyio.sleep(40)
    assert len(wait.begun) == 3
    assert wait.most == 1


async def test_owners_take_turns(site: Site) -> None:
    """Who asks for one does not wait for all that another asked for before."""
    wait = Wait()
    node = site.node(types=[wait], tasks=RunnerSettings(concurrency=1))
    for _ in range(4):
        await ask(node, caller=ANN)
        await anyio.sleep(0.01)
    await ask(node, caller=BEN)
    site.start(node.runner.serve())

    await anyio.sleep(60)

    assert wait.begun == ["p1", "p2", "p1", "p1", "p1"]


async def test_a_task_begins_at_once_where_it_was_asked_for(site: Site) -> None:
    """And after a look, where somebody else asked."""
    wait = Wait()
    settings = RunnerSettings(poll_every=timedelta(seconds=100))
    node = site.node(types=[wait], tasks=settings)
    site.start(node.runner.serve())
    await anyio.sleep(1)

    await ask(node)
    await anyio.sleep(0.1)
    assert wait.running.total() == 1

    await ask(site.node("other", types=[Wait()]))
    await anyio.sleep(1)
    assert wait.running.total() == 1
    await anyio.sleep(120)
    assert len(wait.begun) == 2


async def test_what_is_brief_goes_before(site: Site) -> None:
    """Where it was asked for, and before all that others have asked for."""
    wait, blink = Wait(), Blink()
    node = site.node(types=[wait, blink], tasks=RunnerSettings(concurrency=2))
    site.start(node.runner.attend())
    await anyio.sleep(1)
    for _ in range(3):
        await ask(node, caller=ANN)
    asked = await ask(node, "blink", seconds=1)

    await anyio.sleep(2)

    assert (await site.catalog.get_task(asked.id)).status is TaskStatus.SUCCESS
    assert (blink.begun, wait.begun) == (["p1"], [])  # others are not its business here


@pytest.mark.parametrize(
    "settings", [RunnerSettings(concurrency=1), RunnerSettings(limits={"blink": 1})]
)
async def test_what_is_brief_waits_where_there_is_no_room(
    site: Site, settings: RunnerSettings
) -> None:
    """For a look at what waits, as everything does."""
    blink = Blink()
    node = site.node(types=[blink], tasks=settings)
    site.start(node.runner.attend())
    await anyio.sleep(1)
    for _ in range(3):
        await ask(node, "blink", seconds=1)
    await anyio.sleep(2)
    assert len(blink.begun) == 1

    await site.node("other", types=[blink]).run_tasks()
    assert (len(blink.begun), blink.most) == (3, 2)


async def test_who_stops_takes_nothing(site: Site) -> None:
    """Nor does who has not begun to work."""
    blink = Blink()
    node = site.node(types=[blink])
    await ask(node, "blink")
    site.start(node.runner.attend())
    await anyio.sleep(1)
    node.runner.stop_picking()
    await ask(node, "blink")

    await anyio.sleep(1)

    assert not blink.begun
    assert await node.runner.is_due()


async def test_a_node_does_what_it_knows(site: Site) -> None:
    """A type that only others have waits for them."""
    await ask(site.node("other", types=[Wait()]))

    assert await site.node().run_tasks() == 0
    assert await site.node("third", types=[Wait()]).run_tasks() == 1


@pytest.mark.parametrize("error", [SealMissing("/etc/task.key", "no such file"), SealBroken()])
async def test_a_secret_that_cannot_be_read_here_is_left_to_others(
    site: Site, error: ImagedError
) -> None:
    """Without the key, or with another one, a node ends no task: whoever has the key does it."""

    class Locked(MirrorSeal):
        def open(self, sealed: bytes) -> bytes:
            del sealed
            raise error

    keyless = site.node("keyless", types=[Wait()])
    vars(keyless.runner)["_seal"] = Locked()
    asked = await ask(site.node("asked", types=[Wait()]), seconds=4, token="s3cret")

    assert await keyless.run_tasks() == 0
    assert (await site.catalog.get_task(asked.id)).status is TaskStatus.PENDING
    assert await site.node("owner", types=[Wait()]).run_tasks() == 1


# how they end


async def test_a_result_and_who_asked(site: Site) -> None:
    """All that was asked for, and what came of it; the secret is read once, and dropped."""
    node = site.node(types=[Wait()])
    asked = await ask(node, seconds=4, token="s3cret")
    assert "token" not in asked.input
    assert asked.sealed is not None
    assert b"s3cret" not in asked.sealed

    await node.run_tasks()
    task = await site.catalog.get_task(asked.id)

    assert task.status is TaskStatus.SUCCESS
    assert task.result == {"seconds": 4, "token": "s3cret"}
    assert task.sealed is None
    assert (task.owner, task.user_id, task.roles) == ("p1", "ann", ("member",))
    assert (task.request_id, task.attempts) == ("req-1", 1)


@pytest.mark.parametrize("in_group", [False, True])
async def test_a_failure_that_explains_itself(site: Site, *, in_group: bool) -> None:
    """Its sentence is the message, also if a task group was in between."""

    async def fail() -> None:
        raise TaskFailed("The page is not there.")

    async def also(_: TaskContext) -> None:
        if not in_group:
            await fail()
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            group.start_soon(anyio.sleep, 99)

    node = site.node(types=[Wait(also)])
    asked = await ask(node)
    await node.run_tasks()

    task = await site.catalog.get_task(asked.id)
    assert (task.status, task.result) == (TaskStatus.FAILURE, None)
    assert task.message == ("The page is not there." if not in_group else task.message)
    assert task.attempts == 1


async def test_a_mistake_of_ours_is_told_in_the_log(site: Site) -> None:
    """Its owner reads that it was one; and others go on."""

    async def also(_: TaskContext) -> None:
        raise ZeroDivisionError

    node = site.node(types=[Wait(also)])
    asked = await ask(node)
    with capture_logs() as lines:
        await node.run_tasks()

    task = await site.catalog.get_task(asked.id)
    assert task.message == "The server made a mistake; its log says more."
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["task.crashed"]


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_type_that_breaks_off_without_being_cancelled(site: Site) -> None:
    """What it waited for was cancelled, and not the attempt: a mistake, that stops nobody else."""

    async def also(context: TaskContext) -> None:
        if context.caller.user == "ben":
            raise CancelledError

    node = site.node(types=[Wait(also)])
    asked = [await ask(node, caller=caller, seconds=0.01) for caller in (BEN, ANN)]
    await node.run_tasks()

    broken, done = [await site.catalog.get_task(task.id) for task in asked]
    assert broken.message == "The server made a mistake; its log says more."
    assert done.status is TaskStatus.SUCCESS


async def test_a_silent_catalog_is_no_failure(site: Site) -> None:
    """The task is given back, and the attempt counts."""
    modify = nth(site.catalog.modify_task, 2, before=catalog_fails)
    node = site.node(types=[Wait()], catalog=detour(site.catalog, modify_task=modify))
    asked = await ask(node)

    assert await node.run_tasks() == 0
    task = await site.catalog.get_task(asked.id)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 1)
    assert await node.run_tasks() == 1


async def test_a_finish_whose_reply_is_lost_is_a_success(site: Site) -> None:
    """The catalog is asked before anybody is told of a failure."""
    modify = nth(site.catalog.modify_task, 2, after=catalog_fails)
    node = site.node(types=[Wait()], catalog=detour(site.catalog, modify_task=modify))
    await ask(node)

    assert await node.run_tasks() == 1
    site.audit()


async def test_what_cannot_begin_ends(site: Site) -> None:
    """Instead of waiting for ever: its image was taken from it by an older version."""
    node = site.node(types=[Make()])
    asked = await ask(node, "make")
    site.catalog.images[A] = replace(site.catalog.images[A], status=Status.QUEUED, task=None)

    assert await node.run_tasks() == 0

    task = await site.catalog.get_task(asked.id)
    assert task.status is TaskStatus.FAILURE


async def test_what_another_worker_had_meanwhile_is_not_refused(site: Site) -> None:
    """One picks it up, so another may not; and it waits again before that one says so."""
    asked = await ask(site.node(types=[Wait()]))
    claim = Claim(uuid4(), InstanceId("other"), LEASE)

    async def pick_up(*_: object) -> None:
        await site.catalog.modify_task(asked.id, lambda task: claim_task(task, claim))

    async def give_back(*_: object) -> None:
        change = give_back_task(claim, "It was stopped.", final=False, counts=False)
        await site.catalog.modify_task(asked.id, change)

    modify = nth(site.catalog.modify_task, 1, before=pick_up)
    modify = nth(modify, 2, before=give_back)
    late = site.node("late", types=[Wait()], catalog=detour(site.catalog, modify_task=modify))
    await late.run_tasks()
    await site.node("next", types=[Wait()]).run_tasks()

    assert (await site.catalog.get_task(asked.id)).status is TaskStatus.SUCCESS


async def test_a_task_that_was_found_before_it_is_handed_over(site: Site) -> None:
    """The look at what waits sees it before the one who accepts it hears that it is stored."""
    blink = Blink()
    add = nth(site.catalog.add_task, 1, after=pause(5))
    node = site.node(types=[blink], catalog=detour(site.catalog, add_task=add))
    serving = site.start(node.runner.serve())
    asked = await ask(node, "blink", seconds=20)
    await anyio.sleep(60)

    assert blink.begun == ["p1"]
    assert (await site.catalog.get_task(asked.id)).status is TaskStatus.SUCCESS
    serving.ignore()
    await ask(node, "blink", seconds=1)
    await anyio.sleep(10)
    assert len(blink.begun) == 2  # it goes on


async def test_a_task_that_cannot_be_claimed_keeps_no_other_waiting(site: Site) -> None:
    """Its row is locked, perhaps. It is put off, told, and done when the trouble is over."""
    wait = Wait()
    first = await ask(site.node(types=[wait]))
    locked = {first.id}

    async def modify(task_id: str, change: TaskChange) -> Task:
        await (catalog_fails if task_id in locked else pause(0))()
        return await site.catalog.modify_task(task_id, change)

    catalog = detour(site.catalog, modify_task=modify)
    node = site.node(types=[wait], catalog=catalog, tasks=RunnerSettings(concurrency=1))
    second = await ask(node)
    site.start(node.runner.serve()).ignore()
    await anyio.sleep(30)

    assert (await site.catalog.get_task(second.id)).status is TaskStatus.SUCCESS
    assert "does not answer" in node.runner.postponed.troubles[0]
    locked.clear()
    await anyio.sleep(90)
    assert (await site.catalog.get_task(first.id)).status is TaskStatus.SUCCESS
    assert not node.runner.postponed.troubles


# when the worker goes


async def test_a_worker_that_is_stopped_gives_back_at_once(site: Site) -> None:
    """Nobody waits for its lease, and the attempt does not count."""
    node = site.node(types=[Make()])
    asked = await ask(node, "make")
    with anyio.move_on_after(3):
        await node.runner.serve()

    task = await site.catalog.get_task(asked.id)
    assert (task.status, task.attempts) == (TaskStatus.PENDING, 0)
    assert (await site.image(A)).status is Status.IMPORTING
    assert await site.node(types=[Make()]).run_tasks() == 1


async def test_stopping_begins_nothing_new(site: Site) -> None:
    """What is under way may end."""
    wait = Wait()
    node = site.node(types=[wait], tasks=RunnerSettings(concurrency=1))
    for _ in range(2):
        await ask(node)
    site.start(node.runner.serve())
    await anyio.sleep(1)

    node.runner.stop_picking()
    await anyio.sleep(100)

    assert len(wait.begun) == 1
    statuses = Counter(task.status for task in site.catalog.tasks.values())
    assert statuses == {TaskStatus.SUCCESS: 1, TaskStatus.PENDING: 1}


@pytest.mark.parametrize("type_name", ["wait", "make"])
async def test_a_task_survives_its_worker(site: Site, type_name: str) -> None:
    """One lease after it was killed, another picks it up; and the attempts are limited."""
    asked = await ask(site.node(types=[Wait(), Make()]), type_name)
    most = asked.max_attempts
    for attempt in range(1, most + 1):
        await die_in_attempt(site)
        assert (await site.catalog.get_task(asked.id)).status is TaskStatus.PROCESSING
        await site.settle(2 * LEASE.total_seconds())
        assert (await site.catalog.get_task(asked.id)).attempts == attempt

    task = await site.catalog.get_task(asked.id)
    assert task.status is TaskStatus.FAILURE
    assert task.message == (
        f"The server that was working on it went silent. That was attempt {most}, the last one."
    )
    if type_name == "make":
        assert (await site.image(A)).status is Status.DELETED
    assert not site.keys
    assert not site.catalog.leases


# cancelling


@pytest.mark.parametrize("type_name", ["wait", "make"])
async def test_cancelling_stops_the_work_here_at_once(site: Site, type_name: str) -> None:
    """The record tells by whom; what was to be made is not."""
    wait, make = Wait(), Make()
    node = site.node(types=[wait, make])
    asked = await ask(node, type_name, seconds=1000)
    site.start(node.runner.serve())
    await anyio.sleep(1)
    before = elapsed()

    task = await node.desk.cancel(ANN, asked.id)
    await anyio.sleep(0.001)

    assert elapsed() - before < 0.1
    assert not node.runner.running
    assert wait.running.total() + make.running.total() == 0
    assert (task.status, task.message) == (TaskStatus.FAILURE, "It was cancelled by ann.")
    with pytest.raises(TaskFinal):
        await node.desk.cancel(ANN, asked.id)
    site.audit()


@pytest.mark.parametrize("type_name", ["wait", "make"])
async def test_cancelling_stops_the_work_elsewhere_soon(site: Site, type_name: str) -> None:
    """Within one renewal."""
    wait, make = Wait(), Make()
    elsewhere = site.node("elsewhere", types=[wait, make])
    asked = await ask(elsewhere, type_name, seconds=1000)
    site.start(elsewhere.runner.serve())
    await anyio.sleep(1)

    await site.node("here", types=[Wait(), Make()]).desk.cancel(ANN, asked.id)
    await anyio.sleep(RENEW_EVERY.total_seconds() + 1)

    assert wait.running.total() + make.running.total() == 0
    assert not elsewhere.runner.running


async def test_cancelling_what_waits(site: Site) -> None:
    """It never begins."""
    wait = Wait()
    node = site.node(types=[wait])
    asked = await ask(node)
    await node.desk.cancel(ADMIN, asked.id)

    assert await node.run_tasks() == 0
    assert not wait.begun


# progress


async def test_progress_is_written_now_and_then(site: Site) -> None:
    """A new phase at once, and then once a second at most, however often it is told."""
    written = Counter[str]()

    async def count(_: str, __: int, progress: object) -> None:
        written[getattr(progress, "phase", "")] += 1

    async def also(context: TaskContext) -> None:
        for number in range(100):
            await context.progress("counting", number, 100)
            await anyio.sleep(0.1)

    node = site.node(types=[Wait(also)], catalog=detour(site.catalog, advance_task=count))
    await ask(node)
    await node.run_tasks()

    assert written["waiting"] == 1
    assert 9 <= written["counting"] <= 11


async def test_progress_that_is_not_heard_is_no_matter(site: Site) -> None:
    """The work goes on."""
    node = site.node(types=[Wait()], catalog=detour(site.catalog, advance_task=catalog_fails))
    await ask(node)

    assert await node.run_tasks() == 1


async def die_in_attempt(site: Site) -> None:
    """Pick up what waits, and be killed in the middle of it."""
    modify = from_nth(site.catalog.modify_image, 2, catalog_fails)
    modify_task = from_nth(site.catalog.modify_task, 2, catalog_fails)
    deaf = detour(site.catalog, modify_image=modify, modify_task=modify_task)
    dying = Node("dying", deaf, site.stores(), types=[Wait(), Make()])
    with anyio.move_on_after(1):
        try:
            await dying.run_tasks()
        except ImagedError:
            return
