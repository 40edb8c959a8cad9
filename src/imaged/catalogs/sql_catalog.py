"""A catalog in an SQL database: each method of the port is one transaction.

Strategy. A transaction is written once, as a plain function of a connection (``images.py``,
``blobs.py``, ``leases.py`` and their like). How it is run is the database's matter: SQLite runs it
in a thread (``sqlite/driver.py``), PostgreSQL in a greenlet (``postgresql/driver.py``). See
docs/decisions/0002.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from functools import partial
from uuid import UUID

from imaged.catalogs import (
    accounts,
    blobs,
    block_checksums,
    clocks,
    image_pages,
    image_rows,
    image_select,
    images,
    instances,
    leases,
    places,
    status_query,
    task_rows,
    task_select,
    tasks,
)
from imaged.catalogs.database import Database
from imaged.core.blob import Blob
from imaged.core.claim import Claim, InstanceId
from imaged.core.clock import ClockMark, ClockReading
from imaged.core.image import Change, Image, Location
from imaged.core.ledger import Account
from imaged.core.place_marker import Place, PlaceKind
from imaged.core.query import ImagePage, ImageQuery
from imaged.core.summary import Instance, Summary
from imaged.core.task import Progress, Task, TaskChange
from imaged.core.task_query import TaskQuery
from imaged.ports.catalog import LapsedClaim


class SqlCatalog:
    """Keeps facts in a database."""

    def __init__(self, database: Database) -> None:
        self.database = database

    async def close(self) -> None:
        """Wait for what runs, and let go of every connection."""
        await self.database.close()

    async def check(self) -> None:
        """Make sure that it answers. Raises CatalogError."""
        await self.database.check()

    # images

    async def add_image(self, image: Image) -> Image:
        """Store a new image, and return it dated. Raises ImageExists."""
        return await self.database.write(partial(images.add, image=image))

    async def get_image(self, image_id: str) -> Image:
        """Return the image. Raises ImageNotFound."""
        return await self.database.read(partial(image_rows.read, image_id=image_id))

    async def list_images(self, query: ImageQuery) -> Sequence[Image]:
        """Return the page that ``core/query`` describes."""
        return await self.database.read_list(partial(image_select.list_images, query=query))

    async def list_page(self, query: ImageQuery, max_bytes: int) -> ImagePage:
        """Return the beginning of that page which has about so many bytes."""
        listed = partial(image_pages.list_page, query=query, max_bytes=max_bytes)
        return await self.database.read_list(listed)

    async def modify_image(self, image_id: str, change: Change) -> Image:
        """Apply a change, and what follows. Raises what the port says."""
        return await self.database.write(partial(images.modify, image_id=image_id, change=change))

    async def find_expirable(self, delay: timedelta, limit: int) -> Sequence[Image]:
        """Images in pending_delete for so long and still restorable, the longest first."""
        return await self.database.read(partial(images.find_expirable, delay=delay, limit=limit))

    async def find_staged(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Images in uploading, unclaimed, whose last change is so long ago."""
        return await self.database.read(partial(images.find_staged, idle_for=idle_for, limit=limit))

    async def find_broken_uploads(self, idle_for: timedelta, limit: int) -> Sequence[Image]:
        """Images that remember a broken upload, unclaimed, for so long, the longest first."""
        find = partial(images.find_broken_uploads, idle_for=idle_for, limit=limit)
        return await self.database.read(find)

    async def purge(self, deleted_for: timedelta, limit: int) -> Sequence[str]:
        """Replace the records of images that are deleted for so long by tombstones."""
        return await self.database.write(
            partial(images.purge, deleted_for=deleted_for, limit=limit)
        )

    # tasks

    async def add_task(self, task: Task) -> Task:
        """Store a new task that writes no image, and return it dated."""
        return await self.database.write(partial(tasks.add, task=task))

    async def get_task(self, task_id: str) -> Task:
        """Return the task. Raises TaskNotFound."""
        return await self.database.read(partial(task_rows.read, task_id=task_id))

    async def list_tasks(self, query: TaskQuery) -> Sequence[Task]:
        """Return the page that ``core/task_query`` describes."""
        return await self.database.read_list(partial(task_select.list_tasks, query=query))

    async def count_unfinished_tasks(self, owner: str) -> int:
        """How many tasks of this owner wait for a worker or have one."""
        return await self.database.read(partial(tasks.count_unfinished, owner=owner))

    async def modify_task(self, task_id: str, change: TaskChange) -> Task:
        """Apply a change. Raises what the port says."""
        return await self.database.write(partial(tasks.modify, task_id=task_id, change=change))

    async def update_task_progress(self, task_id: str, attempt: int, progress: Progress) -> None:
        """Note how far an attempt is."""
        advance = partial(tasks.advance, task_id=task_id, attempt=attempt, progress=progress)
        await self.database.write(advance)

    async def find_pending_tasks(self, types: Collection[str], limit: int) -> Sequence[Task]:
        """Tasks of these types that wait for a worker, owners in turn."""
        if not types:
            return ()
        return await self.database.read(partial(tasks.find_pending, types=types, limit=limit))

    async def find_stale_tasks(
        self, known: Collection[str], pending_for: timedelta, limit: int
    ) -> Sequence[Task]:
        """Tasks of none of these types that have waited for a worker for so long."""
        find = partial(tasks.find_stale, known=known, pending_for=pending_for, limit=limit)
        return await self.database.read(find)

    async def remove_task(self, task_id: str, allow: Callable[[Task], object]) -> None:
        """Remove the record, unless ``allow`` raises. Raises TaskNotFound, TaskNotFinal."""
        await self.database.write(partial(tasks.remove, task_id=task_id, allow=allow))

    async def expire_tasks(self, limit: int) -> Sequence[Task]:
        """Remove the records of tasks whose time is over, the longest first."""
        return await self.database.write(partial(tasks.expire, limit=limit))

    # blobs

    async def get_blob(self, key: str) -> Blob | None:
        """Return the row of the ledger, if it is there."""
        return await self.database.read(partial(blobs.get, key=key))

    async def get_block_checksums(self, key: str, page: int) -> bytes | None:
        """Return a page of the checksums of a blob's blocks, if they are recorded."""
        return await self.database.read(partial(block_checksums.get, key=key, page=page))

    async def set_block_checksums(self, key: str, checksums: bytes) -> None:
        """Record the checksums of all blocks of a blob that is whole."""
        replace = partial(block_checksums.replace, key=key, checksums=checksums)
        await self.database.write(replace)

    async def take_doomed(self, limit: int, busy_for: timedelta) -> Sequence[Blob]:
        """Blobs that are due, the longest due first. They are due again after so long."""
        return await self.database.write(partial(blobs.take_doomed, limit=limit, busy_for=busy_for))

    async def list_doomed(self, limit: int) -> Sequence[Blob]:
        """Blobs that are doomed, due or not, the longest due first; nothing is taken."""
        return await self.database.read(partial(blobs.list_doomed, limit=limit))

    async def record_upload_id(self, key: str, upload_id: str) -> None:
        """Note the store's own name for a write. Raises BlobGone."""
        await self.database.write(partial(blobs.record_upload_id, key=key, upload_id=upload_id))

    async def recheck_later(self, key: str, after: timedelta) -> None:
        """These bytes are gone, but more may come: due once more, after so long."""
        await self.database.write(partial(blobs.recheck_later, key=key, after=after))

    async def reschedule(self, key: str, why: str) -> Blob | None:
        """These bytes would not go. Returns the row; None where it has left."""
        return await self.database.write(partial(blobs.reschedule, key=key, why=why))

    async def remove_blob(self, key: str) -> Image | None:
        """These bytes are gone. Returns the image that became deleted by it, if one did."""
        return await self.database.write(partial(blobs.remove_blob, key=key))

    async def add_stray(self, location: Location, quarantine: timedelta) -> bool:
        """Doom bytes that the ledger does not know. Returns whether it did not know them."""
        return await self.database.write(
            partial(blobs.add_stray, location=location, quarantine=quarantine)
        )

    async def list_keys(self, store: str, prefix: str = "") -> Collection[str]:
        """Every key of the ledger in this store that begins so."""
        return await self.database.read(partial(blobs.list_keys, store=store, prefix=prefix))

    async def list_kept(self, store: str, prefix: str = "") -> Collection[str]:
        """Those of the keys whose bytes are whole and needed."""
        return await self.database.read(partial(blobs.list_kept, store=store, prefix=prefix))

    # leases

    async def renew_leases(self, claims: Collection[Claim]) -> Collection[Claim]:
        """Prolong the leases of these claims; return the claims that still stand."""
        if not claims:
            return set()
        return await self.database.write(partial(leases.renew, held=claims))

    async def find_lapsed(self, limit: int) -> Sequence[LapsedClaim]:
        """Claims whose leases ran out, the longest first."""
        return await self.database.read(partial(leases.find_lapsed, limit=limit))

    async def list_attempts(self) -> Collection[UUID]:
        """The tokens of all claims that stand."""
        return await self.database.read(leases.list_attempts)

    # accounts

    async def set_limit(self, owner: str, limit_bytes: int | None) -> Account:
        """Say how many bytes a project may hold; None: no limit."""
        return await self.database.write(
            partial(accounts.set_limit, owner=owner, limit_bytes=limit_bytes)
        )

    async def get_account(self, owner: str) -> Account:
        """Return what a project holds and may hold."""
        return await self.database.read(partial(accounts.get, owner=owner))

    # places

    async def get_id(self) -> UUID:
        """The id of this catalog."""
        return await self.database.read(places.get_id)

    async def list_places(self) -> Sequence[Place]:
        """The places that are known, by kind and name."""
        return await self.database.read(places.list_all)

    async def add_place(self, place: Place) -> Place:
        """Know a place, unless one of its kind and name is known; the one that is known then."""
        return await self.database.write(partial(places.add, place=place))

    async def replace_place(self, place: Place) -> None:
        """Know this place instead of the one of its kind and name."""
        await self.database.write(partial(places.replace, place=place))

    async def set_place_warning(self, kind: PlaceKind, name: str, warning: str | None) -> None:
        """Note what an operator should look at there."""
        await self.database.write(partial(places.warn, kind=kind, name=name, warning=warning))

    # the whole

    async def register_instance(self, instance: Instance, forget_after: timedelta) -> None:
        """Note that an instance is alive; forget those that were silent for so long."""
        await self.database.write(
            partial(instances.register_instance, instance=instance, forget_after=forget_after)
        )

    async def unregister_instance(self, instance_id: InstanceId) -> None:
        """Forget an instance that has ended."""
        await self.database.write(partial(instances.unregister_instance, instance_id=instance_id))

    async def read_clock(self) -> ClockReading:
        """The catalog's clock now, and what was noted of it."""
        return await self.database.read(clocks.read)

    async def note_clock(self, mark: ClockMark) -> None:
        """Note the last moment that was believed, or a step."""
        await self.database.write(partial(clocks.note, mark=mark))

    async def confirm_clock(self, mark: ClockMark) -> None:
        """Note that an operator says that this moment is right."""
        await self.database.write(partial(clocks.confirm, mark=mark))

    async def redate(self, quarantine: timedelta) -> int:
        """Date anew what lies further ahead than its delay or patience explains."""
        return await self.database.write(partial(clocks.redate, quarantine=quarantine))

    async def summarize(self) -> Summary:
        """Count everything, in one look."""
        return await self.database.read(status_query.summarize)
