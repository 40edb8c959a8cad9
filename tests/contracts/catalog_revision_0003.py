"""A catalog with data of revision 0003, migrated to the current one: each driver inherits the
contract.

``revision_0003.*.sql`` are dumps of catalogs that the code of that revision filled through its own
catalog; only their timestamps were set back.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from contracts.catalog_audit import audit
from contracts.catalog_samples import (
    ALL,
    NO_DELAY,
    act,
    all_images,
    blob_of,
    content,
    due_keys,
    list_images,
    new_claim,
    place,
    queued,
)
from imaged.catalogs import migrations
from imaged.catalogs.connect import migrate_catalog
from imaged.catalogs.migrations import Migration
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.broken_upload import note_received
from imaged.core.claim import Claim, InstanceId
from imaged.core.deletion import delete, restore
from imaged.core.errors import ImageExists, ImageNotFound
from imaged.core.image import BrokenUpload, Content, Failure, Visibility
from imaged.core.lifecycle import Status
from imaged.core.query import ImageQuery, TaskQuery
from imaged.core.quota import Resource
from imaged.core.task import Progress, TaskStatus, claim_task, finish_task
from imaged.core.uploading import begin_attempt, begin_import, store_data, write_to
from support.quotas import limits
from support.sample_images import task

DUMPS = Path(__file__).parent

STORED = Content(10, "md5 of them", "sha512", "sha512 of them", 20)  # of what that revision stored

STATUSES = {
    "queued": Status.QUEUED,
    "active": Status.ACTIVE,
    "clone": Status.ACTIVE,
    "deactivated": Status.DEACTIVATED,
    "restorable": Status.PENDING_DELETE,
    "expired": Status.PENDING_DELETE,
    "damaged": Status.ACTIVE,
    "saving": Status.SAVING,
    "failed": Status.QUEUED,
    "staged": Status.UPLOADING,
    "importing": Status.IMPORTING,
    "draft": Status.IMPORTING,
    "deleted": Status.DELETED,
}
TASKS = {
    "import": TaskStatus.PENDING,
    "pending": TaskStatus.PENDING,
    "running": TaskStatus.PROCESSING,
    "succeeded": TaskStatus.SUCCESS,
    "cancelled": TaskStatus.FAILURE,
    "clones": TaskStatus.PENDING,
}

LEASE = timedelta(days=36500)  # of running work: it ends in no test

Opened = Callable[[], AbstractAsyncContextManager[SqlCatalog]]


def holder(number: int) -> Claim:
    """A claim of an instance of that revision."""
    return Claim(UUID(int=number), InstanceId("node-1"), LEASE)


class Revision0003Contract:
    """Suites provide ``old``, the URL of such a catalog, and ``migrated``, which opens it after its
    migration.
    """

    async def test_it_is_migrated_in_one_go(self, old: str) -> None:
        """From there to the newest revision."""
        latest = migrations.STEPS[-1].revision
        assert await migrate_catalog(old) == Migration("0003", latest, 0)
        assert await migrate_catalog(old) == Migration(latest, latest, 0)

    async def test_every_image_is_there(self, migrated: Opened) -> None:
        """With all attributes, and no invented ones; lists find them, and used ids stay used."""
        async with migrated() as catalog:
            images = {image.id: image for image in await all_images(catalog)}
            tagged = await list_images(catalog, ImageQuery(tags=("ü",)))
            with_property = await list_images(catalog, ImageQuery(properties=(("p", "v"),)))
            with pytest.raises(ImageNotFound):
                await catalog.get_image("buried")
            with pytest.raises(ImageExists):
                await catalog.add_image(queued("buried"))

        assert [image.id for image in (*tagged, *with_property)] == ["queued", "active"]
        assert {name: image.status for name, image in images.items()} == STATUSES
        assert [name for name, image in images.items() if image.draft] == ["draft"]
        described = images["queued"]
        assert (described.name, described.tags) == ("größe 'x'", ("t1", "ü"))
        assert described.properties == {"os_distro": "debian", "empty": ""}
        assert (described.min_ram_mib, described.min_disk_gib) == (512, 2)
        assert (described.protected, described.hidden) == (True, True)
        assert described.visibility is Visibility.COMMUNITY
        for name in ("active", "clone", "deactivated", "restorable", "damaged"):
            assert images[name].content == STORED
        assert images["clone"].locations == images["active"].locations == (place("active/1"),)
        assert images["restorable"].deleted_from is Status.ACTIVE
        assert images["expired"].is_expired
        assert images["damaged"].damage == "sha512 is another one"
        failure = images["failed"].last_failure
        assert isinstance(failure, Failure)
        assert (failure.phase, failure.at) == ("upload", images["failed"].since)
        assert images["staged"].staged == place("staged/1")
        for image in images.values():
            assert (image.broken_upload, image.staged_content) == (None, None)
            assert image.created_at is not None
            assert image.created_at.year == 2024

    async def test_every_task_is_there(self, migrated: Opened) -> None:
        """Its input, its progress, its result."""
        async with migrated() as catalog:
            tasks = {one.id: one for one in await catalog.list_tasks(TaskQuery(limit=ALL))}

        assert {name: one.status for name, one in tasks.items()} == TASKS
        asked = tasks["pending"]
        assert (asked.sealed, asked.request_id) == (b"\0secret\xff", "req-1")
        assert (asked.roles, asked.input) == (("member", "reader"), {"image_id": "active"})
        assert tasks["running"].progress == Progress("reading", 5, 10)
        assert tasks["succeeded"].result == {"is_good": True, "text": "größe"}
        assert tasks["cancelled"].message == "It was cancelled."
        assert tasks["import"].writes == "importing"

    async def test_the_ledger_agrees(self, migrated: Opened) -> None:
        """Rows of bytes, their charges, and their references."""
        async with migrated() as catalog:
            account = await catalog.get_account("p1")
            (found,) = (await catalog.summarize()).instances
            expired, unfinished = [await blob_of(catalog, f"{i}/1") for i in ("expired", "saving")]
            await audit(catalog)

        assert (account.usage[Resource.TOTAL], account.limits) == (100, limits(total=1000))
        assert (found.id, found.version, found.troubles) == ("node-1", "0.1.0", ())
        assert (expired.failures, expired.last_error) == (1, "the disk is away")
        assert unfinished.upload_id == "upload-1"

    async def test_work_that_was_under_way_goes_on(self, migrated: Opened) -> None:
        """An upload, a pending import, a task: each to its end, with its own claim."""
        async with migrated() as catalog:
            uploading, running = holder(6), holder(10)
            assert await catalog.renew_leases([uploading, running]) == {uploading, running}
            received = BrokenUpload(30, 7, "0" * 32)
            saved = await act(
                catalog, "saving", uploading, note_received(received), store_data(content(30))
            )
            ended = await catalog.modify_task("running", lambda it: finish_task({})(it, running))

            importing = new_claim()
            steps = begin_attempt, write_to(place("importing/2")), store_data(content())
            imported = await act(catalog, "importing", importing, *steps)
            await audit(catalog)

        assert (saved.status, saved.content) == (Status.ACTIVE, content(30))
        assert (ended.status, imported.status) == (TaskStatus.SUCCESS, Status.ACTIVE)

    async def test_waiting_tasks_are_found_and_claimed(self, migrated: Opened) -> None:
        """Staged bytes are imported, a deleted image is restored, pending work is claimed."""
        async with migrated() as catalog:
            assert [one.id for one in await catalog.find_staged(NO_DELAY, ALL)] == ["staged"]
            await catalog.modify_image("staged", begin_import(task("t", writes="staged")))
            assert [one.id for one in await catalog.find_expirable(NO_DELAY, ALL)] == ["restorable"]
            restored = await catalog.modify_image("restorable", restore)
            waiting = await catalog.find_pending_tasks(("verify", "clone"), ALL)
            claimed = await catalog.modify_task("pending", lambda it: claim_task(it, new_claim()))
            await audit(catalog)

        assert restored.status is Status.ACTIVE
        assert {one.id for one in waiting} == {"pending", "clones"}
        assert claimed.status is TaskStatus.PROCESSING

    async def test_bytes_go_in_their_time(self, migrated: Opened) -> None:
        """Doomed ones; and those of a clone only with their last reference."""
        async with migrated() as catalog:
            assert await due_keys(catalog) == ["expired/1", "failed/1", "stray"]
            gone = await catalog.remove_blob("expired/1")
            for key in ("failed/1", "stray"):
                await catalog.remove_blob(key)
            await catalog.modify_image("active", delete(delayed=False))
            assert await due_keys(catalog) == []
            await catalog.modify_image("clone", delete(delayed=False))
            assert await due_keys(catalog) == ["active/1"]
            await catalog.remove_blob("active/1")
            buried = await catalog.purge(NO_DELAY, ALL)
            await audit(catalog)

        assert gone is not None
        assert gone.status is Status.DELETED
        assert {*buried} == {"active", "clone", "deleted", "expired"}
