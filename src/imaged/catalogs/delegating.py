"""What a catalog that stands around another passes on as it is: all that changes no status."""

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
from imaged.core.query import ImagePage, ImageQuery
from imaged.core.summary import Instance, Summary
from imaged.core.task import Progress, Task
from imaged.core.task_query import TaskQuery
from imaged.ports.catalog import Catalog, LapsedClaim


class DelegatingCatalog(Catalog):
    """Asks the catalog within. The calls that change a status are missing: the type checker lets
    nobody make an heir that does not say what it does then.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def check(self) -> None:
        """As the catalog within."""
        await self._catalog.check()

    # images

    async def get_image(self, image_id: str) -> Image:
        """As the catalog within."""
        return await self._catalog.get_image(image_id)

    async def list_images(self, query: ImageQuery) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.list_images(query)

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """As the catalog within."""
        return await self._catalog.list_page(query, max_bytes)

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.find_expirable(delay, limit)

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.find_staged(idle_for, limit)

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """As the catalog within."""
        return await self._catalog.find_broken_uploads(idle_for, limit)

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """As the catalog within."""
        return await self._catalog.purge(deleted_for, limit)

    # tasks

    async def get_task(self, task_id: str) -> Task:
        """As the catalog within."""
        return await self._catalog.get_task(task_id)

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.list_tasks(query)

    async def count_unfinished_tasks(self, owner: str) -> int:
        """As the catalog within."""
        return await self._catalog.count_unfinished_tasks(owner)

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """As the catalog within."""
        await self._catalog.update_task_progress(task_id, attempt, progress)

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.find_pending_tasks(types, limit)

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.find_stale_tasks(known, pending_for, limit)

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """As the catalog within."""
        await self._catalog.remove_task(task_id, allow)

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """As the catalog within."""
        return await self._catalog.expire_tasks(limit)

    # blobs

    async def get_blob(self, key: str) -> Blob | None:
        """As the catalog within."""
        return await self._catalog.get_blob(key)

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """As the catalog within."""
        return await self._catalog.get_block_checksums(key, page)

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """As the catalog within."""
        await self._catalog.set_block_checksums(key, checksums)

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """As the catalog within."""
        return await self._catalog.take_doomed(limit, busy_for)

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """As the catalog within."""
        return await self._catalog.list_doomed(limit)

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """As the catalog within."""
        await self._catalog.record_upload_id(key, upload_id)

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """As the catalog within."""
        await self._catalog.recheck_later(key, after)

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """As the catalog within."""
        return await self._catalog.reschedule(key, why)

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """As the catalog within."""
        return await self._catalog.add_stray(location, quarantine)

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """As the catalog within."""
        return await self._catalog.list_keys(store, prefix)

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """As the catalog within."""
        return await self._catalog.list_kept(store, prefix)

    # leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """As the catalog within."""
        return await self._catalog.renew_leases(claims)

    async def find_lapsed(self, limit: int) -> Sequence[LapsedClaim]:
        """As the catalog within."""
        return await self._catalog.find_lapsed(limit)

    async def list_attempts(self) -> Collection[UUID]:
        """As the catalog within."""
        return await self._catalog.list_attempts()

    # accounts

    async def set_limit(self, owner: str, limit_bytes: int | None) -> Account:
        """As the catalog within."""
        return await self._catalog.set_limit(owner, limit_bytes)

    async def get_account(self, owner: str) -> Account:
        """As the catalog within."""
        return await self._catalog.get_account(owner)

    # places

    async def get_id(self) -> UUID:
        """As the catalog within."""
        return await self._catalog.get_id()

    async def list_places(self) -> Sequence[Place]:
        """As the catalog within."""
        return await self._catalog.list_places()

    async def add_place(self, place: Place) -> Place:
        """As the catalog within."""
        return await self._catalog.add_place(place)

    async def replace_place(self, place: Place) -> None:
        """As the catalog within."""
        await self._catalog.replace_place(place)

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """As the catalog within."""
        await self._catalog.set_place_warning(kind, name, warning)

    # the whole

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """As the catalog within."""
        await self._catalog.register_instance(instance, forget_after)

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """As the catalog within."""
        await self._catalog.unregister_instance(instance_id)

    async def read_clock(self) -> ClockReading:
        """As the catalog within."""
        return await self._catalog.read_clock()

    async def note_clock(self, mark: ClockMark) -> None:
        """As the catalog within."""
        await self._catalog.note_clock(mark)

    async def confirm_clock(self, mark: ClockMark) -> None:
        """As the catalog within."""
        await self._catalog.confirm_clock(mark)

    async def redate(self, quarantine: timedelta) -> int:
        """As the catalog within."""
        return await self._catalog.redate(quarantine)

    async def summarize(self) -> Summary:
        """As the catalog within."""
        return await self._catalog.summarize()
