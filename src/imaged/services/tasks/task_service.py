"""Creates, shows, cancels and removes tasks; ``runner`` runs them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

import msgspec
import structlog

from imaged.core.access import Caller, require_visible
from imaged.core.edits import begin_draft
from imaged.core.errors import TaskFinal, TooManyTasks
from imaged.core.image import Change, Image
from imaged.core.image_schema import DEFAULT_SCHEMA, ImageSchema
from imaged.core.limits import require_properties_within
from imaged.core.query import TaskQuery
from imaged.core.task import Task, TaskFacts, cancel, require_final
from imaged.core.task_access import (
    require_own_task,
    require_task,
    require_task_change,
    require_tasks,
    task_as_seen_by,
)
from imaged.ports.image_catalog import ImageCatalog, TaskCatalog
from imaged.ports.secret_box import SecretBox
from imaged.services.claims import Claims
from imaged.services.clock_guard import ClockGuard
from imaged.services.periodic import Wakeup
from imaged.services.tasks.task_type import TaskTypeRegistry, read_input

log = structlog.get_logger()

EXPIRY_BATCH = 100
MAX_TASKS_OF_IMAGE = 1000  # tasks listed for an image


@dataclass(frozen=True, slots=True)
class TaskServiceSettings:
    """The quotas and the retention of tasks."""

    time_to_live: timedelta
    max_unfinished_per_owner: int  # 0: no limit
    max_properties_bytes: int  # of an image that a task creates


def _start_nothing(_: Task) -> bool:
    return False


class TaskServiceCatalog(TaskCatalog, ImageCatalog, Protocol):
    """Tasks, and the images that they are about."""


@dataclass(slots=True, eq=False)
class TaskService:
    """``/v2/tasks``. ``wakeup`` wakes the worker of this instance, and ``start_now`` begins brief
    tasks immediately, if it can. ``settings`` and ``schema`` may be replaced.

    A task that the caller may not see raises TaskNotFound.
    """

    catalog: TaskServiceCatalog
    claims: Claims
    registry: TaskTypeRegistry
    _: KW_ONLY
    seal: SecretBox
    wakeup: Wakeup
    start_now: Callable[[Task], bool] = _start_nothing
    settings: TaskServiceSettings
    clock: ClockGuard
    schema: ImageSchema = DEFAULT_SCHEMA

    async def create(
        self,
        caller: Caller,
        type_name: str,
        fields: Mapping[str, object],
        request_id: str | None = None,
    ) -> Task:
        """Accept a task: on return, it is stored.

        Raises NotPermitted, UnknownTaskType, InvalidInput, TooManyTasks, SecretKeyUnavailable, and
        the refusals of the type.
        """
        require_tasks(caller)
        require_task_change(caller, caller.project)
        kind = self.registry.creatable_type(type_name)
        accepted = await kind.accept(caller, read_input(kind, fields))
        task = self.new_task(caller, kind.facts, fields, accepted.image_id, request_id)
        await self.require_room(caller)
        task = await self._store(task, accepted.new_image, accepted.placeholder)
        if not (accepted.is_brief and self.start_now(task)):
            self.wakeup.wake()
        return task

    async def require_room(self, caller: Caller) -> None:
        """Raise TooManyTasks if the caller's project has reached its limit of unfinished tasks.

        Concurrent calls do not see each other, so the limit may be exceeded slightly.
        """
        limit = self.settings.max_unfinished_per_owner
        if limit and await self.catalog.count_unfinished_tasks(caller.project) >= limit:
            raise TooManyTasks(caller.project, limit)

    async def store_in_image(
        self, caller: Caller, image_id: str, change: Change, check: Callable[[], Awaitable[None]]
    ) -> Image:
        """Store a new task by this change of an existing image; a worker will run it.

        ``check``: a call to another host, after invalid requests were refused. Raises
        ImageNotFound, TooManyTasks, and the refusals of ``change`` and ``check``.
        """
        change(await self.catalog.get_image(image_id))
        await check()
        await self.require_room(caller)
        image = await self.catalog.modify_image(image_id, change)
        self.wakeup.wake()
        return image

    def new_task(
        self,
        caller: Caller,
        facts: TaskFacts,
        fields: Mapping[str, object],
        image_id: str | None,
        request_id: str | None = None,
    ) -> Task:
        """A task that is not stored yet, for calls that store it in an image themselves."""
        return Task(
            id=str(uuid4()),
            type=facts.name,
            owner=caller.project,
            user_id=caller.user,
            roles=tuple(sorted(caller.roles)),
            request_id=request_id,
            input={name: value for name, value in fields.items() if name not in facts.secrets},
            sealed=self._sealed(facts, fields),
            image_id=image_id,
            max_attempts=facts.max_attempts,
            keep_for=self.settings.time_to_live,
        )

    async def show(self, caller: Caller, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        require_tasks(caller)
        task = require_task(caller, await self.catalog.get_task(task_id))
        return task_as_seen_by(caller, task)

    async def list(self, query: TaskQuery) -> Sequence[Task]:
        """Return a page of the tasks that the query's caller may see."""
        if query.caller is not None:
            require_tasks(query.caller)
        return await self.catalog.list_tasks(query)

    async def list_for_image(self, caller: Caller, image_id: str) -> Sequence[Task]:
        """The caller's tasks on a visible image, the newest first. Raises ImageNotFound."""
        require_visible(caller, await self.catalog.get_image(image_id))
        query = TaskQuery(caller=caller, image_id=image_id, limit=MAX_TASKS_OF_IMAGE)
        tasks = await self.catalog.list_tasks(query)
        return [task_as_seen_by(caller, task) for task in tasks]

    async def cancel(self, caller: Caller, task_id: str) -> Task:
        """End the task: in this instance immediately, in others within one renewal. Raises
        TaskFinal.
        """
        require_tasks(caller)

        def change(task: Task) -> Task:
            require_own_task(caller, task)
            if task.is_final:
                raise TaskFinal(task.id, task.status)
            return cancel(task, f"It was cancelled by {caller.user}.")

        task = await self.catalog.modify_task(task_id, change)
        await self.claims.renew()  # stops work whose claim has ended
        self.wakeup.wake()  # and in the worker of this instance
        return task

    async def remove(self, caller: Caller, task_id: str) -> None:
        """Remove the record of a task that has ended. Raises TaskNotFinal."""
        require_tasks(caller)

        def allow(task: Task) -> None:
            require_own_task(caller, task)
            require_final(task)

        await self.catalog.remove_task(task_id, allow)

    async def expire_due(self) -> int:
        """Remove the records of all expired tasks; return their number."""
        count = 0
        while await self.clock.is_reliable():
            expired = await self.catalog.expire_tasks(EXPIRY_BATCH)
            count += len(expired)
            for task in expired:
                log.debug("task.expired", task_id=task.id, task_type=task.type, owner=task.owner)
            if len(expired) < EXPIRY_BATCH:
                break
        return count

    async def _store(self, task: Task, draft: Image | None, placeholder: Image | None) -> Task:
        if draft is None:
            task = await self.catalog.add_task(task)
        else:
            limit_bytes = self.settings.max_properties_bytes
            draft = self.schema.checked(draft, placeholder)
            require_properties_within(draft.properties, limit_bytes)
            added = (await self.catalog.add_image(begin_draft(draft, task))).task
            task = task if added is None else added
        return task

    def _sealed(self, facts: TaskFacts, fields: Mapping[str, object]) -> bytes | None:
        secret = {name: fields[name] for name in sorted(facts.secrets) if fields.get(name)}
        return self.seal.seal(msgspec.json.encode(secret)) if secret else None
