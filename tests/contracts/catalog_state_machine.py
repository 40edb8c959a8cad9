"""Any order of operations on a catalog and on the readable specification: both must agree."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from contracts import catalog_samples as samples
from contracts.catalog_audit import audit
from contracts.catalog_comparison import (
    accounts,
    counted,
    history_of,
    ids,
    timeless,
    timeless_task,
    timeless_tasks,
    undated,
    unfinished,
)
from imaged.core import growth, sharing, uploading
from imaged.core.access import OPERATOR
from imaged.core.claim import Claim, InstanceId
from imaged.core.deletion import deactivate, delete, expire, reactivate, restore
from imaged.core.errors import CatalogError, ImagedError
from imaged.core.image import Change, Image
from imaged.core.member import MemberStatus
from imaged.core.query import TaskQuery
from imaged.core.quota import Resource
from imaged.core.summary import Instance
from imaged.core.task import (
    Progress,
    Task,
    TaskChange,
    cancel,
    claim_task,
    finish_task,
    give_back_task,
)
from imaged.ports.catalog import Catalog
from imaged.testing.memory_catalog import MemoryCatalog
from support.sample_images import attempt_at, draft, task
from support.service import UtcClock

T = TypeVar("T")

IDS = st.sampled_from(["i", "j", "k"])
OWNERS = st.sampled_from(["a", "b"])
SIZES = st.integers(0, 40)
LEASES = st.sampled_from([samples.NO_DELAY, samples.AN_HOUR])
TASK_TYPES = ["import", "verify"]
LIMITS = st.sampled_from([None, 0, 2, 30, 100])

machine_settings = settings(
    max_examples=15,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=samples.UNCHECKED,
    phases=samples.UNSHRUNK,
)


class CatalogMachine(RuleBasedStateMachine):
    """Timestamps differ between the two, so comparisons omit them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.stack = AsyncExitStack()
        self.model = MemoryCatalog(UtcClock())
        self.attempts = 0
        self.claims: list[Claim] = []

    def make(self) -> AbstractAsyncContextManager[Catalog]:
        """A fresh catalog."""
        raise NotImplementedError  # each driver's suite has one; hypothesis' class is no ABC

    @initialize()
    def begin(self) -> None:
        """Every run has a catalog of its own."""
        self.catalog = self.runner.run(self.stack.enter_async_context(self.make()))

    def teardown(self) -> None:
        """Close it."""
        self.runner.run(self.stack.aclose())
        self.runner.close()

    @rule(image_id=IDS, owner=OWNERS)
    def add(self, image_id: str, owner: str) -> None:
        """Also for ids that are taken or purged."""
        self._both(lambda catalog: catalog.add_image(samples.queued(image_id, owner)), timeless)

    @rule(image_id=IDS, owner=OWNERS, tag=st.sampled_from("xyz"))
    def edit(self, image_id: str, owner: str, tag: str) -> None:
        """Its owner, a tag that is added or removed, a property."""

        def change(image: Image) -> Image:
            left = tuple(other for other in image.tags if other != tag)
            tags = left if tag in image.tags else (*image.tags, tag)
            return replace(image, owner=owner, tags=tags, properties={"last": tag})

        self._modify(image_id, change)

    @rule(image_id=IDS, member_id=OWNERS, way=st.sampled_from(["add", "remove", *MemberStatus]))
    def share(self, image_id: str, member_id: str, way: str) -> None:
        """Also with a project that is a member already, or was never one."""
        change = {
            "add": sharing.add_member(OPERATOR, member_id, 1),
            "remove": sharing.remove_member(OPERATOR, member_id),
        }.get(way) or sharing.answer(OPERATOR, member_id, MemberStatus(way))
        self._modify(image_id, change)

    @rule(image_id=IDS, size_bytes=SIZES, lease=LEASES, way=st.sampled_from("usa"))
    def begin_work(self, image_id: str, size_bytes: int, lease: timedelta, way: str) -> None:
        """An upload, a staging, an attempt."""
        claim = samples.new_claim(lease)
        self.claims.append(claim)
        self.attempts += 1
        where = samples.place(f"{image_id}/{self.attempts}", size_bytes)
        begun = {
            "u": uploading.begin_upload(where, size_bytes),
            "s": uploading.begin_staging(where),
            "a": attempt_at(where),
        }[way]
        self._modify(image_id, samples.held_by(claim, begun))

    @rule(image_id=IDS, size_bytes=SIZES, way=st.sampled_from(["reserve", "stage", "store"]))
    def go_on(self, image_id: str, size_bytes: int, way: str) -> None:
        """With the current claim, if there is one."""
        work = {
            "reserve": growth.reserve(size_bytes),
            "stage": uploading.stage_data(samples.content(size_bytes)),
            "store": uploading.store_data(samples.content(size_bytes)),
        }[way]
        claim = self._claim(image_id)
        if claim is not None:
            self._modify(image_id, samples.held_by(claim, work))

    @rule(image_id=IDS, final=st.booleans(), kill=st.booleans())
    def give_up(self, image_id: str, final: bool, kill: bool) -> None:
        """The work ends without a result."""
        claim = self._claim(image_id)
        if claim is not None:
            self._modify(image_id, uploading.give_back(claim, "lost", final=final, kill=kill))

    @rule(image_id=IDS)
    def ask_for_import(self, image_id: str) -> None:
        """A new task each time."""
        self.attempts += 1
        self._modify(image_id, uploading.begin_import(self._task(image_id)))

    @rule(image_id=IDS, owner=OWNERS)
    def ask_for_image(self, image_id: str, owner: str) -> None:
        """A hidden image, also if the image exists already."""
        self.attempts += 1
        asked = draft(image_id, owner, self._task(None, owner))
        self._both(lambda catalog: catalog.add_image(asked), timeless)

    @rule(owner=OWNERS, image_id=IDS)
    def ask_for_reading(self, owner: str, image_id: str) -> None:
        """A task that writes no image."""
        self.attempts += 1
        asked = self._task(image_id, owner, "verify")
        self._both(lambda catalog: catalog.add_task(asked), timeless_task)

    @rule(
        limit=st.integers(0, 2), lease=LEASES, types=st.sampled_from([TASK_TYPES, ["verify"], []])
    )
    def pick_up(self, limit: int, lease: timedelta, types: list[str]) -> None:
        """The workers' first tasks."""
        found = self._both(lambda catalog: catalog.find_pending_tasks(types, limit), ids)
        for waiting in found or ():
            if waiting.writes is None:
                self._pick_up(waiting.id, samples.new_claim(lease))

    @rule(number=st.integers(0, 9), way=st.sampled_from(["finish", "fail", "lose", "stop"]))
    def end_reading(self, number: int, way: str) -> None:
        """With the current claim, or with one that never existed."""
        task = self._known_task(number)
        claim = (task and task.claim) or samples.new_claim()
        changes: dict[str, TaskChange] = {
            "finish": lambda task: finish_task({"n": 1})(task, claim),
            "fail": give_back_task(claim, "no", final=True),
            "lose": give_back_task(claim, "lost", final=False),
            "stop": give_back_task(claim, "stopped", final=False, counts=False),
        }
        if task is not None and task.writes is None:
            self._change_task(task.id, changes[way])

    @rule(number=st.integers(0, 9))
    def cancel(self, number: int) -> None:
        """Pending, processing or final; and with it the image that it writes."""
        task = self._known_task(number)
        self._change_task("none" if task is None else task.id, lambda task: cancel(task, "enough"))

    @rule(number=st.integers(0, 9), attempt=st.integers(0, 2), done=st.none() | SIZES)
    def advance(self, number: int, attempt: int, done: int | None) -> None:
        """Also of an attempt that is not the current one."""
        task = self._known_task(number)
        name = "none" if task is None else task.id
        progress = Progress("reading", done, 40)
        self._both(lambda catalog: catalog.update_task_progress(name, attempt, progress))

    @rule(number=st.integers(0, 9))
    def remove_task(self, number: int) -> None:
        """Only final ones are removed."""
        task = self._known_task(number)
        name = "none" if task is None else task.id
        self._both(lambda catalog: catalog.remove_task(name, id))

    @rule(limit=st.integers(0, 2))
    def expire_tasks(self, limit: int) -> None:
        """Those that are kept for no time."""
        self._both(lambda catalog: catalog.expire_tasks(limit), ids)

    @rule(image_id=IDS, source_id=IDS)
    def finish_clone(self, image_id: str, source_id: str) -> None:
        """A worker shares the bytes of any source."""
        claim, source = self._claim(image_id), self.model.images.get(source_id)
        if claim is not None and source is not None and source.content is not None:
            self._modify(image_id, samples.held_by(claim, uploading.share_to_finish(source)))

    @rule(image_id=IDS, source_id=IDS)
    def clone(self, image_id: str, source_id: str) -> None:
        """From any source."""
        source = self.model.images.get(source_id)
        if source is not None and source.content is not None:
            self._modify(image_id, uploading.share_data(source))

    @rule(image_id=IDS, delayed=st.booleans())
    def delete(self, image_id: str, delayed: bool) -> None:
        """With and without delay."""
        self._modify(image_id, delete(delayed=delayed))

    @rule(image_id=IDS, change=st.sampled_from([restore, deactivate, reactivate]))
    def take_back(self, image_id: str, change: Change) -> None:
        """Restore, deactivate, reactivate."""
        self._modify(image_id, change)

    @rule(way=st.sampled_from([expire, uploading.unstage]), image_id=IDS)
    def let_go(self, way: Callable[[Image], Change], image_id: str) -> None:
        """Of the observed delete, or staged bytes."""
        seen = self.model.images.get(image_id)
        if seen is not None and (way is uploading.unstage or seen.status == "pending_delete"):
            self._modify(image_id, way(seen))

    @rule(limit=st.integers(0, 2), failing=st.booleans())
    def scrub(self, limit: int, failing: bool) -> None:
        """Take what is due, and remove or reschedule it."""
        taken = self._both(
            lambda catalog: catalog.take_doomed(limit, samples.NO_DELAY),
            lambda blobs: [undated(blob) for blob in blobs],
        )
        for blob in taken or ():
            if failing:
                self._put_off(blob.key)
            else:
                self._forget(blob.key)

    @rule(image_id=IDS, attempt=st.integers(1, 4), upload_id=st.sampled_from("uv"))
    def record_upload_id(self, image_id: str, attempt: int, upload_id: str) -> None:
        """Also for bytes that are not, or never were, being written."""
        key = f"{image_id}/{attempt}"
        self._both(lambda catalog: catalog.record_upload_id(key, upload_id))
        self._same_blob(key)

    @rule()
    def recheck_later(self) -> None:
        """For bytes that were doomed while being written."""
        for key in [key for key, blob in self.model.blobs.items() if blob.is_unfinished]:
            self._both(lambda catalog, key=key: catalog.recheck_later(key, samples.NO_DELAY))  # type: ignore[misc]

    @rule(name=st.sampled_from(["one", "two"]), version=st.sampled_from("12"))
    def beat(self, name: str, version: str) -> None:
        """Register, or stay registered."""
        instance = Instance(InstanceId(name), version, ("api",))
        self._both(lambda catalog: catalog.register_instance(instance, samples.AN_HOUR))

    @rule(name=st.sampled_from(["one", "two"]))
    def leave(self, name: str) -> None:
        """Unregister, also an unknown one."""
        self._both(lambda catalog: catalog.unregister_instance(InstanceId(name)))

    @rule(owner=OWNERS, resource=st.sampled_from(Resource), limit=LIMITS)
    def limit(self, owner: str, resource: Resource, limit: int | None) -> None:
        """A higher or lower limit; None: unlimited."""
        self._both(lambda catalog: catalog.set_limits(owner, {resource: limit}))

    @rule(owner=OWNERS, resources=st.sets(st.sampled_from(Resource)))
    def reset_limits(self, owner: str, resources: set[Resource]) -> None:
        """The defaults again."""
        self._both(lambda catalog: catalog.set_limits(owner, {}, resources))

    @rule(key=st.sampled_from(["i/1", "j/2", "stray"]))
    def find_stray(self, key: str) -> None:
        """Known or not."""
        self._both(lambda catalog: catalog.add_stray(samples.place(key), samples.NO_DELAY))

    @rule()
    def bury(self) -> None:
        """Everything that may be purged."""
        self._both(lambda catalog: catalog.purge(samples.NO_DELAY, samples.ALL), list)

    @invariant()
    def all_agrees(self) -> None:
        """Images, rows, findings, leases and accounts are equal, and consistent."""
        self._both(samples.all_images, lambda images: [timeless(image) for image in images])
        self._both(lambda catalog: catalog.list_keys(samples.STORE), set)
        self._both(lambda catalog: catalog.list_kept(samples.STORE), set)
        self._both(lambda catalog: catalog.find_lapsed(samples.ALL), list)
        self._both(lambda catalog: catalog.list_tasks(TaskQuery(limit=samples.ALL)), timeless_tasks)
        self._both(lambda catalog: catalog.find_pending_tasks(TASK_TYPES, samples.ALL), ids)
        self._both(lambda catalog: catalog.list_attempts(), set)
        self._both(lambda catalog: catalog.find_staged(samples.NO_DELAY, samples.ALL), ids)
        self._both(lambda catalog: catalog.find_expirable(samples.NO_DELAY, samples.ALL), ids)
        self._both(accounts)
        self._both(unfinished)
        self._both(lambda catalog: catalog.summarize(), counted)
        for key in self.model.blobs:
            self._same_blob(key)
        for image_id in self.model.images:
            self._both(partial(history_of, image_id=image_id))
        for catalog in (self.model, self.catalog):  # both: it renews leases
            self.runner.run(audit(catalog))

    def _put_off(self, key: str) -> None:
        self._both(lambda catalog: catalog.reschedule(key, "no"), undated)

    def _forget(self, key: str) -> None:
        self._both(lambda catalog: catalog.remove_blob(key), timeless)

    def _same_blob(self, key: str) -> None:
        self._both(lambda catalog: catalog.get_blob(key), undated)

    def _task(self, image_id: str | None, owner: str = "a", kind: str = "import") -> Task:
        keep_for = samples.AN_HOUR if self.attempts % 2 else samples.NO_DELAY
        return task(
            f"t{self.attempts:03}",
            type=kind,
            owner=owner,
            image_id=image_id,
            max_attempts=2,
            keep_for=keep_for,
        )

    def _known_task(self, number: int) -> Task | None:
        known = sorted(self.model.tasks)
        return self.model.tasks[known[number % len(known)]] if known else None

    def _pick_up(self, task_id: str, claim: Claim) -> None:
        self.claims.append(claim)
        self._change_task(task_id, lambda task: claim_task(task, claim))

    def _change_task(self, task_id: str, change: TaskChange) -> None:
        self._both(lambda catalog: catalog.modify_task(task_id, change), timeless_task)

    def _claim(self, image_id: str) -> Claim | None:
        image = self.model.images.get(image_id)
        return None if image is None else image.claim

    def _modify(self, image_id: str, change: Change) -> None:
        self._both(lambda catalog: catalog.modify_image(image_id, change), timeless)

    def _both(
        self,
        ask: Callable[[Catalog], Awaitable[T]],
        view: Callable[[T], object] = lambda answer: answer,
    ) -> T | None:
        expected, said = self._answer(self.model, ask), self._answer(self.catalog, ask)
        if isinstance(expected, ImagedError) or isinstance(said, ImagedError):
            assert (type(said), str(said)) == (type(expected), str(expected))
            return None
        assert view(said) == view(expected), (view(said), view(expected))
        return said

    def _answer(self, catalog: Catalog, ask: Callable[[Catalog], Awaitable[T]]) -> T | ImagedError:
        async def answer() -> T:
            return await ask(catalog)

        try:
            return self.runner.run(answer())
        except CatalogError:
            raise
        except ImagedError as refusal:
            return refusal
