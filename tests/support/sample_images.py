"""Images as the changes of the core make them, one in each status."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from imaged.core.claim import Claim, InstanceId
from imaged.core.deletion import deactivate, delete
from imaged.core.edits import begin_draft
from imaged.core.image import ClaimedChange, Content, Failure, Image, Location
from imaged.core.lifecycle import Status
from imaged.core.task import Task
from imaged.core.uploading import (
    begin_attempt,
    begin_import,
    begin_staging,
    begin_upload,
    give_back,
    stage_data,
    store_data,
    write_to,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=60)
REASON = "the holder was lost"
IMAGE_ID = "8f1c2f0e-6f43-4d3a-9d6e-0a3f6a2c5b10"


def location(key: str = "first", size_bytes: int = 100) -> Location:
    """Where bytes are."""
    return Location("local", key, size_bytes)


def content(size_bytes: int = 100) -> Content:
    """What is known of bytes."""
    return Content(size_bytes, "md5 of them", "sha512", "sha512 of them", size_bytes)


def claim(number: int = 1) -> Claim:
    """A claim that equals no claim of another number."""
    return Claim(UUID(int=number), InstanceId("one"), LEASE)


def failure(phase: str = "upload", reason: str = REASON) -> Failure:
    """Why it failed, not dated yet."""
    return Failure(phase, reason)


def task(task_id: str = "task-1", **more: Any) -> Task:
    """A task that waits for a worker."""
    return Task(**{"id": task_id, "type": "api_image_import", "owner": "p1", **more})


def attempt_at(where: Location) -> ClaimedChange:
    """Pick up an image's task, and begin to write."""

    def change(image: Image, claim: Claim) -> Image:
        return write_to(where)(begin_attempt(image, claim), claim)

    return change


def draft(image_id: str = IMAGE_ID, owner: str = "p1", made_by: Task | None = None) -> Image:
    """An image that a task is to make."""
    return begin_draft(queued(image_id, owner), made_by or task(type="import"))


def queued(image_id: str = IMAGE_ID, owner: str = "p1") -> Image:
    """An image that may take data."""
    return Image(id=image_id, owner=owner, disk_format="raw", container_format="bare")


def saving(image: Image | None = None, where: Location | None = None) -> Image:
    """An image whose data is being written, under the first claim."""
    return begin_upload(where or location())(image or queued(), claim())


def uploading(image: Image | None = None) -> Image:
    """An image whose data is being staged, under the first claim."""
    return begin_staging(location())(image or queued(), claim())


def staged() -> Image:
    """An image whose staged data waits for its import."""
    return stage_data(content())(uploading(), claim())


def importing(image: Image | None = None) -> Image:
    """An image whose task waits for a worker."""
    return begin_import(task())(image or queued())


def active(image: Image | None = None, where: Location | None = None) -> Image:
    """A complete image."""
    where = where or location()
    return store_data(content(where.size_bytes))(saving(image, where), claim())


def pending_delete() -> Image:
    """An image that can be restored."""
    return delete(delayed=True)(active())


def expired() -> Image:
    """An image whose record waits for its bytes to go."""
    return replace(pending_delete(), deleted_from=None)


def in_status(status: Status) -> Image:
    """An image in this status."""
    return IN_STATUS[status]


IN_STATUS = {
    Status.QUEUED: queued(),
    Status.SAVING: saving(),
    Status.UPLOADING: uploading(),
    Status.IMPORTING: importing(),
    Status.ACTIVE: active(),
    Status.DEACTIVATED: deactivate(active()),
    Status.KILLED: give_back(claim(), REASON, final=True, kill=True)(saving()),
    Status.PENDING_DELETE: pending_delete(),
    Status.DELETED: delete(delayed=False)(queued()),
}
