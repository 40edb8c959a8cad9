"""A cluster: a catalog, two stores, and whatever nodes a test puts around them."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio
from anyio.abc import TaskGroup

from imaged.core.deletion import delete
from imaged.core.image import BrokenUpload, Change, Failure, Image
from imaged.core.lifecycle import Status
from imaged.core.query import TaskQuery
from imaged.core.task import Task
from imaged.ports.catalog import Catalog
from imaged.ports.store import Store, Stores
from imaged.testing.memory_catalog import MemoryCatalog
from imaged.testing.memory_store import MemoryStore
from support.audit import audit
from support.bodies import send
from support.faults import Call, catalog_fails, from_nth, nth, override_call, override_calls
from support.node import LEASE, Node, image_id
from support.quotas import used_bytes
from support.virtual_time import VirtualClock


class BackgroundWork:
    """Work that goes on beside a test. How it ended is the test's to ask."""

    def __init__(self, work: Awaitable[Any]) -> None:
        self._work = work
        self._ended = anyio.Event()
        self._result: Any = None
        self._is_ignored = False
        self.untold: Exception | None = None

    async def run(self) -> None:
        """Do the work."""
        try:
            self._result = await self._work
        except Exception as error:  # noqa: BLE001 - whatever it is, the test is told
            self._result = error
            self.untold = None if self._is_ignored else error
        self._ended.set()

    def ignore(self) -> None:
        """However it ends, the test does not care."""
        self._is_ignored = True

    async def outcome(self) -> Any:
        """Wait for the end, and return the result, or the error."""
        await self._ended.wait()
        self.untold = None
        return self._result


class Cluster:
    """A catalog, two stores, and whatever nodes a test puts around them."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._running: list[BackgroundWork] = []
        self.clock = VirtualClock()
        self.catalog = MemoryCatalog(self.clock)
        self.near = MemoryStore("near")
        self.far = MemoryStore("far")

    def stores(self, near: Store | None = None) -> Stores:
        """The stores, as a node is given them."""
        return Stores("near", {"near": near or self.near, "far": self.far})

    def node(
        self,
        name: str = "n",
        *,
        catalog: Catalog | None = None,
        near: Store | None = None,
        fault: Call | None = None,
        beats: bool = True,
        **settings: Any,
    ) -> Node:
        """Start a node; with a heartbeat, unless it is to be a silent one.

        ``fault``: a changed call of the catalog, or of the store ``near``.
        """
        if fault is not None:
            port, faulty = override_call(fault)
            catalog, near = (faulty, near) if port is self.catalog else (catalog, faulty)
        node = Node(name, catalog or self.catalog, self.stores(near), **settings)
        if beats:
            self.start(node.claims.renew_forever())
        return node

    def start(self, work: Awaitable[Any]) -> BackgroundWork:
        """Do something beside the test, until it ends."""
        running = BackgroundWork(work)
        self._running.append(running)
        self._tasks.start_soon(running.run)
        return running

    def raise_unexpected_errors(self) -> None:
        """Raise an error of something that was started, if no test asked for it."""
        for running in self._running:
            if running.untold is not None:
                raise running.untold

    async def queued(self, image_id: str, owner: str = "p1", **attributes: Any) -> Image:
        """Add an image that may take data."""
        formats = {"disk_format": "raw", "container_format": "bare", "tags": (image_id,)}
        return await self.catalog.add_image(
            Image(id=image_id, owner=owner, **{**formats, **attributes})
        )

    async def active(self, image_id: str, owner: str = "p1") -> Image:
        """Add an image with data."""
        await self.queued(image_id, owner)
        return await Node("maker", self.catalog, self.stores()).upload(image_id)

    async def importing(self, image_id: str) -> Image:
        """Add an image whose import was asked for."""
        await self.queued(image_id)
        node = Node("maker", self.catalog, self.stores())
        await node.stage(image_id)
        return await node.ask_import(image_id)

    async def killed(self, image_id: str) -> None:
        """Add an image whose uploader is killed: it is silent from then on."""
        await self.queued(image_id)
        modify = from_nth(self.catalog.modify_image, 2, catalog_fails)
        deaf = override_calls(self.catalog, modify_image=modify, add_stray=catalog_fails)
        with anyio.move_on_after(1):
            await Node("dead", deaf, self.stores()).upload(image_id, send(chunks=9, every=1), 82)

    async def doomed(self, *numbers: int, every: float = 0) -> list[str]:
        """Delete images, one after the other; return the keys of their bytes."""
        keys = []
        for image in map(image_id, numbers):
            keys.append((await self.active(image)).locations[0].key)
            await self.change(image, delete(delayed=False))
            await anyio.sleep(every)
        return keys

    async def image(self, image_id: str) -> Image:
        """Look at an image."""
        return await self.catalog.get_image(image_id)

    async def failure_of(self, image_id: str) -> Failure:
        """How the last work on an image failed."""
        failure = (await self.image(image_id)).last_failure
        assert failure is not None
        return failure

    async def broken_upload_of(self, image_id: str) -> BrokenUpload:
        """What is remembered of a body that broke off."""
        broken = (await self.image(image_id)).broken_upload
        assert broken is not None
        return broken

    async def task_of(self, image_id: str) -> Task:
        """Look at the last task on an image."""
        query = TaskQuery(image_id=image_id, limit=1)
        (task,) = await self.catalog.list_tasks(query)
        return task

    async def change(self, image_id: str, change: Change) -> Image:
        """Change an image, as a request does."""
        return await self.catalog.modify_image(image_id, change)

    async def settle(self, seconds: float = 200, delay: timedelta = timedelta(0)) -> None:
        """Let a healthy node do all that is its duty, for a while; then audit."""
        node = self.node("healthy", delay=delay)
        for _ in range(int(seconds // 10)):
            await node.reclaimer.run_due()
            await node.scrubber.run_due()
            await anyio.sleep(10)
        self.audit()

    async def run_tasks_after_deaths(self, node: Node, number: int) -> None:
        """Let workers die before and after this change of an image; then this node runs tasks."""
        before = nth(self.catalog.modify_image, number, before=catalog_fails)
        after = nth(self.catalog.modify_image, number, after=catalog_fails)
        for modify in (before, after):
            deaf = override_calls(self.catalog, modify_image=modify)
            await Node("dying", deaf, self.stores(), web=node.web).run_tasks()
            await self.settle(2 * LEASE.total_seconds())
        await node.run_tasks()

    async def require_clean_retry(self, image_id: str, disk_format: str = "raw") -> None:
        """Fail unless nothing is left of a failure, and the next attempt works."""
        image = await self.image(image_id)
        assert image.status is Status.QUEUED
        assert image.content is None
        await self.settle()
        assert not self.keys
        assert not self.catalog.blobs
        assert await used_bytes(self.catalog, image.owner) == 0

        await self.change(image_id, lambda image: replace(image, disk_format=disk_format))
        retry = Node("retry", self.catalog, self.stores())
        retried = await retry.upload(image_id, replaces=True)  # it may have been another body
        assert retried.status is Status.ACTIVE
        self.audit()

    def audit(self) -> None:
        """Check what holds at every moment."""
        audit(self.catalog, {"near": self.near, "far": self.far})

    def now(self) -> datetime:
        """Tell the time, by the catalog's clock."""
        return self.clock.now()

    @property
    def keys(self) -> set[str]:
        """The keys of all bytes, whole or unfinished."""
        return {key for store in (self.near, self.far) for key in (*store.blobs, *store.partial)}
