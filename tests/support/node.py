"""Nodes: the services of one process each, around a catalog and stores that all of them share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio

from imaged.core.access import Caller, by_owner, require_readable
from imaged.core.claim import InstanceId
from imaged.core.errors import InvalidTransition
from imaged.core.image import Image
from imaged.core.lifecycle import RESTORES
from imaged.core.removal import delete, restore
from imaged.core.task import Task, TaskStatus
from imaged.core.writing import share_data
from imaged.inspectors.oslo import OsloInspector
from imaged.lanes import InlineLane
from imaged.ports.catalog import Catalog
from imaged.ports.fetcher import Fetcher
from imaged.ports.import_check import ImportCheck
from imaged.ports.store import Stores
from imaged.services.budget import Budget
from imaged.services.claims import Claims, ClaimSettings
from imaged.services.clock_guard import ClockGuard
from imaged.services.downloads import Downloads
from imaged.services.intake import Intake
from imaged.services.reclaimer import Reclaimer
from imaged.services.reconcile import Reconcile, ReconcileSettings
from imaged.services.scrubber import Scrubber, ScrubberSettings
from imaged.services.stages import StageSettings
from imaged.services.staging import Staging
from imaged.services.tasks.clone import Clone
from imaged.services.tasks.clone_between import Copying
from imaged.services.tasks.clone_remote import RemoteImages
from imaged.services.tasks.desk import DeskSettings, TaskDesk
from imaged.services.tasks.examination import Examiner
from imaged.services.tasks.image_import import ImageImport, ImageImports
from imaged.services.tasks.import_methods import STAGED, StagedBytes
from imaged.services.tasks.runner import RunnerSettings, TaskRunner
from imaged.services.tasks.types import Registry, TaskType
from imaged.services.tasks.verify import Verify
from imaged.services.traffic import Traffic
from imaged.services.uploads import Uploads
from support.bodies import send
from support.seal import MirrorSeal
from support.web import MemoryWeb

OWNER = Caller("ann", "p1", frozenset({"member"}))
ADMIN = Caller("root", "p0", frozenset({"admin"}))

LEASE = timedelta(seconds=60)
RENEW_EVERY = timedelta(seconds=10)
DELAY = timedelta(minutes=5)


@dataclass
class FixedBlocks(Budget):
    """A budget of little blocks, so that short bodies have many; at first, one for each chunk."""

    fixed_bytes: int = 1

    @property
    def block_bytes(self) -> int:
        """How large the next block should be."""
        return self.fixed_bytes


def virtual_uptime() -> tuple[str, timedelta]:
    """A machine that was started with the test."""
    return "boot", timedelta(seconds=anyio.current_time())


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
        keep_records: timedelta = timedelta(days=30),
        slice_bytes: int = 64,
        kill_uploads: bool = False,
        budget: Budget | None = None,
        tasks: RunnerSettings | None = None,
        types: Sequence[TaskType[Any]] = (),
        web: Fetcher | None = None,
        checks: Sequence[ImportCheck] = (),
    ) -> None:
        settings = ClaimSettings(LEASE, RENEW_EVERY)
        self.catalog = catalog
        self.clock = ClockGuard(catalog, virtual_uptime)
        self.budget = budget or FixedBlocks(1024)
        self.traffic = Traffic()
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
            traffic=self.traffic,
        )
        self.uploads = Uploads(self.intake)
        self.staging = Staging(self.intake)
        self.downloads = Downloads(catalog, stores, self.budget, self.traffic)
        self.web = web or MemoryWeb()
        self.examiner = Examiner(lambda: self.intake.settings.max_size_bytes, checks, InlineLane)
        self._build_tasks(catalog, stores, tasks, types)
        self.reclaimer = Reclaimer(
            catalog, clock=self.clock, lease=LEASE, kill_uploads=kill_uploads
        )
        scrubbing = ScrubberSettings(delay=delay, keep_records=keep_records)
        self.scrubber = Scrubber(catalog, stores, scrubbing, clock=self.clock)
        self.reconcile = Reconcile(catalog, stores, ReconcileSettings())

    def _build_tasks(
        self,
        catalog: Catalog,
        stores: Stores,
        settings: RunnerSettings | None,
        types: Sequence[TaskType[Any]],
    ) -> None:
        imported = ImageImport({STAGED: StagedBytes(stores)}, stores, self.examiner)
        registry = Registry(
            [
                Clone(
                    catalog,
                    stores,
                    Copying(catalog, stores, self.downloads, self.examiner),
                    RemoteImages(self.web, self.examiner),
                ),
                Verify(catalog, stores, self.budget, InlineLane),
                imported,
                *types,
            ]
        )
        seal = MirrorSeal()
        self.runner = TaskRunner(
            catalog,
            self.claims,
            self.intake,
            registry,
            seal=seal,
            settings=settings or RunnerSettings(concurrency=100),
        )
        self.desk = TaskDesk(
            catalog,
            self.claims,
            registry,
            seal=seal,
            bell=self.runner.bell,
            take=self.runner.take,
            settings=DeskSettings(),
            clock=self.clock,
        )
        self.imports = ImageImports(catalog, self.desk, self.runner.bell, imported)

    async def run_tasks(self) -> int:
        """Work on what waits, to its end; return how many of them were successful."""
        async with anyio.create_task_group() as attempts:
            await self.runner.begin_due(attempts)
            begun = list(self.runner.running)
        tasks = [await self.catalog.get_task(task_id) for task_id in begun]
        return sum(task.status is TaskStatus.SUCCESS for task in tasks)

    async def do_task(
        self, type_name: str, fields: Mapping[str, object], caller: Caller = ADMIN
    ) -> Task:
        """Ask for a task, work on all that waits, and see what came of it."""
        task = await self.desk.create(caller, type_name, fields, "req-1")
        await self.run_tasks()
        return await self.catalog.get_task(task.id)

    async def clone(self, caller: Caller, source_id: str, image_id: str) -> Image:
        """Give a queued image the bytes of another one, as the call that adds locations does."""
        source = require_readable(caller, await self.catalog.get_image(source_id))
        if source.status not in RESTORES:
            raise InvalidTransition(source.status, "be cloned")
        return await self.catalog.modify_image(image_id, by_owner(caller, share_data(source)))

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
        replaces: bool = False,
    ) -> Image:
        """Upload a body, a short one if none is given; and close it, as a server would."""
        async with aclosing(body or send()) as sent:
            return await self.uploads.upload(
                caller, image_id, sent, announced_bytes, store, replaces=replaces
            )

    async def stage(
        self,
        image_id: str,
        body: AsyncGenerator[bytes] | None = None,
        announced_bytes: int | None = None,
        *,
        replaces: bool = False,
    ) -> Image:
        """The same for data to be imported."""
        async with aclosing(body or send()) as sent:
            return await self.staging.stage(
                ADMIN, image_id, sent, announced_bytes, replaces=replaces
            )


def image_id(number: int) -> str:
    """An id; those of different numbers are in different folders of a store."""
    return str(UUID(int=number * 0x01010101_01010101_01010101_01010101 % 2**128))


A, B = image_id(0xA1), image_id(0xB2)
