"""Nodes: the services of one process each, around a catalog and stores that all of them share."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import anyio

from imaged.core.access import Caller, permitted_change, require_readable
from imaged.core.block import TransferBudget
from imaged.core.claim import InstanceId
from imaged.core.deletion import delete, restore
from imaged.core.errors import InvalidTransition
from imaged.core.image import Image
from imaged.core.lifecycle import RESTORE_EVENTS
from imaged.core.policy_rules import Rule
from imaged.core.task import Task, TaskStatus
from imaged.core.uploading import share_data
from imaged.inspectors.oslo_inspector import OsloInspector
from imaged.lanes import InlineLane, LaneFactory
from imaged.ports.catalog import Catalog
from imaged.ports.disk_image import ImportCheck
from imaged.ports.fetcher import Fetcher
from imaged.ports.store import Stores
from imaged.services.claims import Claims, ClaimSettings
from imaged.services.downloads import Downloads
from imaged.services.ingest import Ingester
from imaged.services.ingest_pipeline import IngestSettings
from imaged.services.reclaimer import LeaseReclaimer
from imaged.services.reconciler import ReconcileSettings, StoreReconciler
from imaged.services.scrubber import BlobScrubber, ScrubberSettings
from imaged.services.tasks.context import StreamCheckFactory
from imaged.services.tasks.runner import RunnerSettings, TaskRunner
from imaged.services.tasks.task_service import TaskService, TaskServiceSettings
from imaged.services.tasks.task_type import TaskType, TaskTypeRegistry
from imaged.services.tasks.types.api_image_import import ImageImport, ImageImportService
from imaged.services.tasks.types.clone import Clone, CloneCopier
from imaged.services.tasks.types.import_methods import (
    GLANCE_DIRECT,
    WEB_DOWNLOAD,
    ImportMethod,
    StagedBytes,
    WebDownload,
)
from imaged.services.tasks.types.remote_image import RemoteImageClient
from imaged.services.tasks.types.verify import Verify
from imaged.services.traffic import Traffic
from support.bodies import send
from support.callers import ADMIN
from support.memory_fetcher import MemoryFetcher
from support.reversed_secret_box import ReversedSecretBox
from support.settings import DEFAULT_CONFIG, clock_guard, configured

LEASE = timedelta(seconds=60)
RENEW_EVERY = timedelta(seconds=10)
DELAY = timedelta(minutes=5)


@dataclass
class FixedBlockBudget(TransferBudget):
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
        stages: IngestSettings | None = None,
        delay: timedelta = DELAY,
        keep_records: timedelta = timedelta(days=30),
        slice_bytes: int = 64,
        kill_uploads: bool = False,
        budget: TransferBudget | None = None,
        tasks: RunnerSettings | None = None,
        types: Sequence[TaskType[Any]] = (),
        web: Fetcher | None = None,
        checks: Sequence[ImportCheck] = (),
        lanes: LaneFactory = InlineLane,
    ) -> None:
        settings = ClaimSettings(LEASE, RENEW_EVERY)
        self.catalog = catalog
        self.clock = clock_guard(catalog, virtual_uptime)
        self.budget = budget or FixedBlockBudget(1024)
        self.traffic = Traffic()
        self.claims = Claims(catalog, InstanceId(name), settings, kill_uploads=kill_uploads)
        self.ingest = Ingester(
            catalog,
            stores,
            self.claims,
            stages or configured(IngestSettings),
            budget=self.budget,
            inspector=OsloInspector,
            lanes=lanes,
            slice_bytes=slice_bytes,
            traffic=self.traffic,
        )
        self.uploads = self.ingest
        self.downloads = Downloads(catalog, stores, self.budget, self.traffic)
        self.web: Any = web or MemoryFetcher()
        self.check_factory = StreamCheckFactory(
            lambda: self.ingest.settings.max_size_bytes, checks, lanes
        )
        self._types = types
        self._build_tasks(catalog, stores, tasks, lanes)
        self.reclaimer = LeaseReclaimer(
            catalog,
            clock=self.clock,
            lease=LEASE,
            kill_uploads=kill_uploads,
            staged_time_to_live=DEFAULT_CONFIG.uploads.staged_time_to_live,
            remember_broken=DEFAULT_CONFIG.uploads.remember_broken,
        )
        scrubbing = configured(ScrubberSettings, delay=delay, keep_records=keep_records)
        self.scrubber = BlobScrubber(catalog, stores, scrubbing, self.clock)
        self.reconcile = StoreReconciler(catalog, stores, configured(ReconcileSettings))

    def _build_tasks(
        self,
        catalog: Catalog,
        stores: Stores,
        settings: RunnerSettings | None,
        lanes: LaneFactory,
    ) -> None:
        methods: dict[str, ImportMethod] = {
            GLANCE_DIRECT: StagedBytes(stores),
            WEB_DOWNLOAD: WebDownload(self.web),
        }
        imported = ImageImport(methods, stores, self.check_factory)
        registry = TaskTypeRegistry(
            [
                Clone(
                    catalog,
                    stores,
                    CloneCopier(catalog, stores, self.downloads, self.check_factory),
                    RemoteImageClient(self.web, self.check_factory),
                ),
                Verify(catalog, stores, self.budget, lanes),
                *self.more_types(imported),
            ]
        )
        seal = ReversedSecretBox()
        self.runner = TaskRunner(
            catalog,
            self.claims,
            self.ingest,
            registry,
            seal=seal,
            settings=settings or configured(RunnerSettings, concurrency=100),
        )
        self.task_service = TaskService(
            catalog,
            self.claims,
            registry,
            seal=seal,
            wakeup=self.runner.wakeup,
            start_now=self.runner.start_now,
            settings=configured(TaskServiceSettings, max_unfinished_per_owner=0),
            clock=self.clock,
        )
        self.imports = ImageImportService(self.task_service, imported)

    def more_types(self, imported: ImageImport) -> Sequence[TaskType[Any]]:
        """The types beside clones and verifications."""
        return [imported, *self._types]

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
        task = await self.task_service.create(caller, type_name, fields, "req-1")
        await self.run_tasks()
        return await self.catalog.get_task(task.id)

    async def clone(self, caller: Caller, source_id: str, image_id: str) -> Image:
        """Give a queued image the bytes of another one, as the call that adds locations does."""
        source = require_readable(caller, await self.catalog.get_image(source_id))
        if source.status not in RESTORE_EVENTS:
            raise InvalidTransition(source.status, "be cloned")
        return await self.catalog.modify_image(
            image_id, permitted_change(caller, Rule.MODIFY_IMAGE, share_data(source))
        )

    async def delete(self, image_id: str, *, delayed: bool = True) -> Image:
        """Delete an image, as its owner's request does."""
        return await self.catalog.modify_image(image_id, delete(delayed=delayed))

    async def restore(self, image_id: str) -> Image:
        """Restore an image, as an operator does."""
        return await self.catalog.modify_image(image_id, restore)

    async def ask_import(self, image_id: str) -> Image:
        """Ask for an import of what was staged."""
        return await self.imports.request(ADMIN, image_id)

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
            return await self.uploads.stage(
                ADMIN, image_id, sent, announced_bytes, replaces=replaces
            )


def image_id(number: int) -> str:
    """An id; those of different numbers are in different folders of a store."""
    return str(UUID(int=number * 0x01010101_01010101_01010101_01010101 % 2**128))


A, B = image_id(0xA1), image_id(0xB2)
