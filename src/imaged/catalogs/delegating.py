"""A wrapper around a catalog that passes on every call that changes no status."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from uuid import UUID

from imaged.core.blob import Blob
from imaged.core.claim import Claim, InstanceId
from imaged.core.clock import ClockMark, ClockReading
from imaged.core.image import Image, Location
from imaged.core.ledger import Account
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.query import ImagePage, ImageQuery, TaskQuery
from imaged.core.summary import Instance, Summary
from imaged.core.task import Progress, Task
from imaged.ports.catalog import Catalog
from imaged.ports.image_catalog import LapsedClaim


class DelegatingCatalog(Catalog):
    """Delegates to the inner catalog. The calls that change a status are missing, so the type
    checker requires every subclass to define them.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def check(self) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.check()

    # images

    async def get_image(self, image_id: str) -> Image:
        """Delegates to the inner catalog."""
        return await self._catalog.get_image(image_id)

    async def list_images(self, query: ImageQuery) -> Sequence[Image]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_images(query)

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Delegates to the inner catalog."""
        return await self._catalog.list_page(query, max_bytes)

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Delegates to the inner catalog."""
        return await self._catalog.find_expirable(delay, limit)

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Delegates to the inner catalog."""
        return await self._catalog.find_staged(idle_for, limit)

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Delegates to the inner catalog."""
        return await self._catalog.find_broken_uploads(idle_for, limit)

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Delegates to the inner catalog."""
        return await self._catalog.purge(deleted_for, limit)

    # tasks

    async def get_task(self, task_id: str) -> Task:
        """Delegates to the inner catalog."""
        return await self._catalog.get_task(task_id)

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_tasks(query)

    async def count_unfinished_tasks(self, owner: str) -> int:
        """Delegates to the inner catalog."""
        return await self._catalog.count_unfinished_tasks(owner)

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.update_task_progress(task_id, attempt, progress)

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Delegates to the inner catalog."""
        return await self._catalog.find_pending_tasks(types, limit)

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Delegates to the inner catalog."""
        return await self._catalog.find_stale_tasks(known, pending_for, limit)

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.remove_task(task_id, allow)

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Delegates to the inner catalog."""
        return await self._catalog.expire_tasks(limit)

    # blobs

    async def get_blob(self, key: str) -> Blob | None:
        """Delegates to the inner catalog."""
        return await self._catalog.get_blob(key)

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """Delegates to the inner catalog."""
        return await self._catalog.get_block_checksums(key, page)

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.set_block_checksums(key, checksums)

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """Delegates to the inner catalog."""
        return await self._catalog.take_doomed(limit, busy_for)

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_doomed(limit)

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.record_upload_id(key, upload_id)

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.recheck_later(key, after)

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """Delegates to the inner catalog."""
        return await self._catalog.reschedule(key, why)

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """Delegates to the inner catalog."""
        return await self._catalog.add_stray(location, quarantine)

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_keys(store, prefix)

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_kept(store, prefix)

    # leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Delegates to the inner catalog."""
        return await self._catalog.renew_leases(claims)

    async def find_lapsed(self, limit: int) -> Sequence[LapsedClaim]:
        """Delegates to the inner catalog."""
        return await self._catalog.find_lapsed(limit)

    async def list_attempts(self) -> Collection[UUID]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_attempts()

    # accounts

    async def set_limit(self, owner: str, limit_bytes: int | None) -> Account:
        """Delegates to the inner catalog."""
        return await self._catalog.set_limit(owner, limit_bytes)

    async def get_account(self, owner: str) -> Account:
        """Delegates to the inner catalog."""
        return await self._catalog.get_account(owner)

    # places

    async def get_id(self) -> UUID:
        """Delegates to the inner catalog."""
        return await self._catalog.get_id()

    async def list_places(self) -> Sequence[Place]:
        """Delegates to the inner catalog."""
        return await self._catalog.list_places()

    async def add_place(self, place: Place) -> Place:
        """Delegates to the inner catalog."""
        return await self._catalog.add_place(place)

    async def replace_place(self, place: Place) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.replace_place(place)

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.set_place_warning(kind, name, warning)

    # the whole catalog

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.register_instance(instance, forget_after)

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.unregister_instance(instance_id)

    async def read_clock(self) -> ClockReading:
        """Delegates to the inner catalog."""
        return await self._catalog.read_clock()

    async def note_clock(self, mark: ClockMark) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.note_clock(mark)

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Delegates to the inner catalog."""
        await self._catalog.confirm_clock(mark)

    async def redate(self, quarantine: timedelta) -> int:
        """Delegates to the inner catalog."""
        return await self._catalog.redate(quarantine)

    async def summarize(self) -> Summary:
        """Delegates to the inner catalog."""
        return await self._catalog.summarize()
