"""Runs tasks: a limited number at once, owners in turn, the oldest first.

The catalog returns the next tasks (``find_pending_tasks``); the first process to claim a task runs
it. The claim keeps a task in processing: if this process dies, another one takes the task over.

On shutdown no new task begins. Running tasks continue while the process still answers requests, and
are then given back: another instance, or the next start, takes them over, and the attempt does not
count. So tasks never prolong a shutdown.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, Protocol

import anyio
import msgspec
import structlog
from anyio.abc import TaskGroup
from structlog.contextvars import bound_contextvars

from imaged.core.claim import Claim
from imaged.core.errors import CatalogError, ImagedError, InvalidTransition, TaskStalled
from imaged.core.image import Image
from imaged.core.image_schema import DEFAULT_SCHEMA
from imaged.core.policy import DEFAULT_POLICY, Policy
from imaged.core.task import Task
from imaged.core.task_slots import TaskSlots
from imaged.core.uploading import begin_attempt
from imaged.ports.catalog import StatusCatalog
from imaged.ports.image_catalog import TaskCatalog
from imaged.ports.meter import Meter, Timing, ignore_measurement
from imaged.ports.secret_box import SecretBox
from imaged.services.claimed import ClaimedImage, ClaimedTask, claimed_task
from imaged.services.claims import Claims
from imaged.services.ingest import Ingester
from imaged.services.periodic import ItemBackoff, Wakeup, run_periodically
from imaged.services.tasks.cleanup import cancel_if_waiting, why_secret_unreadable
from imaged.services.tasks.context import TaskContext
from imaged.services.tasks.task_type import TaskType, TaskTypeRegistry, read_input

log = structlog.get_logger()

PENDING_BATCH = 100  # waiting tasks in the first query


@dataclass(frozen=True, slots=True)
class RunnerSettings:
    """The concurrency of this process."""

    concurrency: int
    limits: Mapping[str, int]  # by type, where lower than the total
    exports_per_destination: int  # beside all other tasks
    stalled_after: timedelta
    poll_every: timedelta


class RunnerCatalog(TaskCatalog, StatusCatalog, Protocol):
    """Tasks, and whether the catalog answers."""


class TaskRunner:
    """The worker of this process. ``settings``, ``policy`` and ``schema`` may be replaced; they
    apply to tasks that begin later.
    """

    def __init__(
        self,
        catalog: RunnerCatalog,
        claims: Claims,
        ingest: Ingester,
        registry: TaskTypeRegistry,
        *,
        seal: SecretBox,
        settings: RunnerSettings,
        policy: Policy = DEFAULT_POLICY,
        meter: Meter = ignore_measurement,
    ) -> None:
        self._catalog = catalog
        self._claims = claims
        self._ingest = ingest
        self._registry = registry
        self._seal = seal
        self._meter = meter  # receives each attempt, by the name of its type
        self._attempts: TaskGroup | None = None  # while tasks may begin
        self._claiming: anyio.CancelScope | None = None
        self.settings = settings
        self.policy = policy
        self.schema = DEFAULT_SCHEMA
        self.wakeup = Wakeup()
        self.postponed = ItemBackoff("tasks", catalog.check)  # those whose claim itself failed
        self.running: dict[str, Task] = {}  # by id

    async def serve(self) -> None:
        """Run tasks until cancelled."""
        async with self._working() as attempts:
            await run_periodically(
                "tasks",
                lambda: self.begin_due(attempts),
                lambda: self.settings.poll_every,
                self.wakeup,
            )

    async def serve_brief_only(self) -> None:
        """Run only tasks passed to ``start_now``, until cancelled."""
        async with self._working():
            await anyio.sleep_forever()

    def stop_claiming(self) -> None:
        """Begin no new tasks."""
        self._attempts = None
        if self._claiming is not None:
            self._claiming.cancel()

    def start_now(self, task: Task) -> bool:
        """Begin a task that was just accepted, before all others; False if there is no room."""
        if task.id in self.running:  # the query for waiting tasks was faster
            return True
        if self._attempts is None or not (self._has_room_for(task) and self._can_open(task)):
            return False
        self._begin(task, self._attempts)
        return True

    async def is_due(self) -> bool:
        """Whether a task could begin now. Raises CatalogError."""
        return bool(await self._choose())

    async def begin_due(self, attempts: TaskGroup) -> int:
        """Begin as many tasks as there is room for; return their number. Raises CatalogError."""
        count = 0
        while chosen := await self._choose():
            for task in chosen:
                self._begin(task, attempts)
            count += len(chosen)
        return count

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[TaskGroup]:
        async with anyio.create_task_group() as attempts:
            with anyio.CancelScope() as self._claiming:
                self._attempts = attempts
                try:
                    yield attempts
                finally:
                    self._attempts = None

    def _has_room_for(self, task: Task) -> bool:
        return self._free_slots().has_slot_for(task)

    def _begin(self, task: Task, attempts: TaskGroup) -> None:
        self.running[task.id] = task
        attempts.start_soon(self._attempt, task)

    async def _choose(self) -> Sequence[Task]:
        """The tasks that begin now, in their order."""
        slots, chosen, limit = self._free_slots(), list[Task](), PENDING_BATCH
        limit += len(self.running) + len(self.postponed)
        while types := slots.types:
            waiting = await self._catalog.find_pending_tasks(types, limit)
            for task in waiting:
                if self._may_begin(task) and slots.has_slot_for(task) and self._can_open(task):
                    slots.occupy(task)
                    chosen.append(task)
            if chosen or len(waiting) < limit:
                break
            limit *= PENDING_BATCH  # all of them wait for occupied slots
        return chosen

    def _may_begin(self, task: Task) -> bool:
        return task.id not in self.running and not self.postponed.is_waiting(task.id)

    def _free_slots(self) -> TaskSlots:
        kinds = [kind.facts for kind in self._registry]
        settings = self.settings
        slots = TaskSlots(
            kinds, settings.concurrency, settings.exports_per_destination, settings.limits
        )
        for task in self.running.values():
            slots.occupy(task)
        return slots

    def _can_open(self, task: Task) -> bool:
        """Whether its secret can be read here; otherwise it waits for an instance with its key."""
        why = why_secret_unreadable(self._seal, task)
        if why is not None:
            log.debug("task.left_to_others", task_id=task.id, error=why)
        return why is None

    async def _attempt(self, task: Task) -> None:
        try:
            with (
                bound_contextvars(
                    task_id=task.id,
                    task_type=task.type,
                    request_id=task.request_id,
                    user_id=task.user_id or None,
                    project_id=task.owner,
                    image_id=task.image_id or task.writes,
                ),
                suppress(CatalogError),  # logged; the next query meets it too
            ):
                await self.postponed.try_item(task.id, partial(self._work_on, task))
        finally:
            del self.running[task.id]
            self.wakeup.wake()

    async def _work_on(self, task: Task) -> None:
        """Make an attempt, however it ends. Raises the error that prevented its beginning."""
        work: ClaimedImage | ClaimedTask | None = None
        try:
            async with self._claimed(task) as work:
                kind = self._registry.get(task.type)
                context = TaskContext(
                    self._catalog,
                    self._ingest,
                    work,
                    claimed_task(work),
                    policy=self.policy,
                    schema=self.schema,
                )
                with Timing(self._meter, task.type):
                    with context.cancel_if_stalled(self.settings.stalled_after):
                        result = await _run(kind, context, self._fields(task))
                    await context.finish(result)
        except TaskStalled as error:
            log.error("task.stalled", phase=error.phase, seconds=error.seconds)  # noqa: TRY400 - no crash
        except CatalogError as error:
            log.debug("task.attempt_broken_off", error=str(error))
            if work is None:
                raise
        except ImagedError as error:  # recorded in the task, if the claim was still ours
            log.debug("task.attempt_ended", error=str(error))
            if work is None:
                await self._refuse(task, error)
        except Exception:
            log.exception("task.crashed")
            if work is None:
                raise

    @asynccontextmanager
    async def _claimed(self, task: Task) -> AsyncIterator[ClaimedImage | ClaimedTask]:
        if task.writes is None:
            async with self._claims.on_task(task.id) as on_task:
                yield on_task
            return

        def begin(image: Image, claim: Claim) -> Image:
            if image.task is None or image.task.id != task.id:
                raise InvalidTransition(image.status, "picked up")
            return begin_attempt(image, claim)

        async with self._claims.on_image(task.writes, begin) as on_image:
            yield on_image

    def _fields(self, task: Task) -> Mapping[str, object]:
        if task.sealed is None:
            return task.input
        secret = msgspec.json.decode(self._seal.open(task.sealed), type=dict[str, Any])
        return {**task.input, **secret}

    async def _refuse(self, seen: Task, error: ImagedError) -> None:
        """End a task that no worker may begin, instead of leaving it waiting. Raises
        CatalogError.
        """
        change = cancel_if_waiting(seen, error.for_clients)
        try:
            await self._catalog.modify_task(seen.id, change)
        except CatalogError:
            raise
        except ImagedError as refusal:  # the task is gone
            log.debug("task.refusal_lost", error=str(refusal))


async def _run(
    kind: TaskType[Any], context: TaskContext, fields: Mapping[str, object]
) -> Mapping[str, object]:
    try:
        result = await kind.run(context, read_input(kind, fields))
    except ExceptionGroup as several:
        raise _single_error(several) from several
    except anyio.get_cancelled_exc_class() as broken_off:
        if anyio.get_current_task().has_pending_cancellation():
            raise
        raise RuntimeError("the wait was cancelled, but the attempt was not") from broken_off
    encoded: Mapping[str, object] = msgspec.to_builtins(result)
    return encoded


def _single_error(several: ExceptionGroup[Exception]) -> Exception:
    """The only error in a group, if it is ours: the type used a task group."""
    _, others = several.split(ImagedError)
    first: Exception = several
    while isinstance(first, ExceptionGroup) and others is None:
        first = first.exceptions[0]
    return first
