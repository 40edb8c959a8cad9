"""Nodes: the services of one process each, around a catalog and stores that all of them share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import anyio
from anyio.abc import TaskGroup

from imaged.catalogs.memory import MemoryCatalog
from imaged.core.access import Caller
from imaged.core.claim import InstanceId
from imaged.core.image import Change, Image
from imaged.core.removal import delete, restore
from imaged.inspectors.oslo import OsloInspector
from imaged.lanes import InlineLane
from imaged.ports.catalog import Catalog
from imaged.ports.store import Store, Stores
from imaged.services.budget import Budget
from imaged.services.claims import Claims, ClaimSettings
from imaged.services.downloads import Downloads
from imaged.services.intake import Intake
from imaged.services.reclaimer import Reclaimer
from imaged.services.reconcile import Reconcile, ReconcileSettings
from imaged.services.scrubber import Scrubber, ScrubberSettings
from imaged.services.stages import StageSettings
from imaged.services.staging import Staging
from imaged.services.tasks.clones import Clones
from imaged.services.tasks.imports import Imports
from imaged.services.uploads import Uploads
from imaged.stores.memory import MemoryStore
from support.audit import audit
from support.virtual_time import VirtualClock

OWNER = Caller("ann", "p1", frozenset({"member"}))
ADMIN = Caller("root", "p0", frozenset({"admin"}))

LEASE = timedelta(seconds=60)
RENEW_EVERY = timedelta(seconds=10)
DELAY = timedelta(minutes=5)

CHUNK = b"x" * 9
END = b"!"  # the last byte of every whole body
BODY = CHUNK + END


@dataclass
class FixedBlocks(Budget):
    """A budget of little blocks, so that short bodies have many; at first, one for each chunk."""

    fixed_bytes: int = 1

    @property
    def block_bytes(self) -> int:
        """How large the next block should be."""
        return self.fixed_bytes


class Node:
    """One process."""

    def __init__(
        self,
        name: str,
        catalog: Catalog,
        stores: Stores,
        *,
        stages: StageSettings | None = None,
        delay: timedelta = DELAY,
        slice_bytes: int = 64,
        kill_uploads: bool = False,
        budget: Budget | None = None,
    ) -> None:
        settings = ClaimSettings(LEASE, RENEW_EVERY)
        self.catalog = catalog
        self.budget = budget or FixedBlocks(1024)
        self.claims = Claims(catalog, InstanceId(name), settings, kill_uploads=kill_uploads)
        self.intake = Intake(
            catalog,
            stores,
            self.claims,
            stages or StageSettings(),
            budget=self.budget,
            inspector=OsloInspector,
            lanes=InlineLane,
            slice_bytes=slice_bytes,
        )
        self.uploads = Uploads(self.intake)
        self.staging = Staging(self.intake)
        self.imports = Imports(catalog, stores, self.intake)
        self.clones = Clones(catalog)
        self.downloads = Downloads(catalog, stores, self.budget)
        self.reclaimer = Reclaimer(catalog, kill_uploads=kill_uploads)
        self.scrubber = Scrubber(catalog, stores, ScrubberSettings(delay=delay))
        self.reconcile = Reconcile(catalog, stores, ReconcileSettings())

    async def delete(self, image_id: str, *, delayed: bool = True) -> Image:
        """Delete an image, as its owner's request does."""
        return await self.catalog.modify_image(image_id, delete(delayed=delayed))

    async def restore(self, image_id: str) -> Image:
        """Restore an image, as an operator does."""
        return await self.catalog.modify_image(image_id, restore)

    async def ask_import(self, image_id: str) -> Image:
        """Ask for an import of what was staged."""
        return await self.imports.ask(ADMIN, image_id)

    async def upload(
        self,
        image_id: str,
        body: AsyncGenerator[bytes] | None = None,
        announced_bytes: int | None = None,
        store: str | None = None,
        *,
        caller: Caller = ADMIN,
    ) -> Image:
        """Upload a body, a short one if none is given; and close it, as a server would."""
        async with aclosing(body or send()) as sent:
            return await self.uploads.upload(caller, image_id, sent, announced_bytes, store)

    async def stage(
        self,
        image_id: str,
        body: AsyncGenerator[bytes] | None = None,
        announced_bytes: int | None = None,
    ) -> Image:
        """The same for data to be imported."""
        async with aclosing(body or send()) as sent:
            return await self.staging.stage(ADMIN, image_id, sent, announced_bytes)


class Running:
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


class Site:
    """A catalog, two stores, and whatever nodes a test puts around them."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._running: list[Running] = []
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
        beats: bool = True,
        **settings: Any,
    ) -> Node:
        """Start a node; with a heartbeat, unless it is to be a silent one."""
        node = Node(name, catalog or self.catalog, self.stores(near), **settings)
        if beats:
            self.start(node.claims.renew_forever())
        return node

    def start(self, work: Awaitable[Any]) -> Running:
        """Do something beside the test, until it ends."""
        running = Running(work)
        self._running.append(running)
        self._tasks.start_soon(running.run)
        return running

    def require_no_surprise(self) -> None:
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

    async def image(self, image_id: str) -> Image:
        """Look at an image."""
        return await self.catalog.get_image(image_id)

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


async def send(chunks: int = 1, every: float = 0, chunk: bytes = CHUNK) -> AsyncGenerator[bytes]:
    """A body, as slow as you like."""
    for _ in range(chunks):
        yield chunk
        await anyio.sleep(every)
    yield END


async def send_torn(
    error: Exception, after: float = 0, chunk: bytes = CHUNK
) -> AsyncGenerator[bytes]:
    """A body that breaks off."""
    yield chunk
    await anyio.sleep(after)
    raise error


def image_id(number: int) -> str:
    """An id; those of different numbers are in different folders of a store."""
    return str(UUID(int=number * 0x01010101_01010101_01010101_01010101 % 2**128))


A, B = image_id(0xA1), image_id(0xB2)
