"""Nodes: the services of one process each, around a catalog and stores that all of them share."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from imaged.core.access import Caller
from imaged.core.claim import InstanceId
from imaged.core.image import Image
from imaged.core.removal import delete, restore
from imaged.inspectors.oslo import OsloInspector
from imaged.lanes import InlineLane
from imaged.ports.catalog import Catalog
from imaged.ports.store import Stores
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
from imaged.services.traffic import Traffic
from imaged.services.uploads import Uploads
from support.bodies import send

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
    ) -> None:
        settings = ClaimSettings(LEASE, RENEW_EVERY)
        self.catalog = catalog
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
        self.imports = Imports(catalog, stores, self.intake)
        self.clones = Clones(catalog)
        self.downloads = Downloads(catalog, stores, self.budget, self.traffic)
        self.reclaimer = Reclaimer(catalog, kill_uploads=kill_uploads)
        scrubbing = ScrubberSettings(delay=delay, keep_records=keep_records)
        self.scrubber = Scrubber(catalog, stores, scrubbing)
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


def image_id(number: int) -> str:
    """An id; those of different numbers are in different folders of a store."""
    return str(UUID(int=number * 0x01010101_01010101_01010101_01010101 % 2**128))


A, B = image_id(0xA1), image_id(0xB2)
