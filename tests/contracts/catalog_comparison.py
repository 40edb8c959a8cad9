"""What two catalogs must agree on: answers without their timestamps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from imaged.core.blob import Blob
from imaged.core.image import Image
from imaged.core.quota import Account
from imaged.core.summary import Summary
from imaged.core.task import Task
from imaged.ports.catalog import Catalog


def timeless(image: Image | None) -> Image | None:
    """The image without its timestamps."""
    if image is None:
        return None
    failure = image.last_failure and replace(image.last_failure, at=None)
    broken = image.broken_upload and replace(image.broken_upload, at=None)
    task = timeless_task(image.task)
    members = {
        key: replace(member, created_at=None, updated_at=None)
        for key, member in image.members.items()
    }
    return replace(
        image,
        members=members,
        since=None,
        created_at=None,
        updated_at=None,
        last_failure=failure,
        broken_upload=broken,
        task=task,
    )


def timeless_task(task: Task | None) -> Task | None:
    """The task without its timestamps."""
    return task and replace(task, created_at=None, updated_at=None, expires_at=None, begun_at=None)


def timeless_tasks(tasks: Sequence[Task]) -> list[Task | None]:
    """The same for several."""
    return [timeless_task(task) for task in tasks]


def ids(records: Sequence[Image | Task]) -> list[str]:
    """The ids of images or tasks."""
    return [record.id for record in records]


def undated(blob: Blob | None) -> Blob | None:
    """The blob without its timestamp."""
    return blob and replace(blob, due_at=None)


def counted(summary: Summary) -> list[object]:
    """The summary without its timestamps."""
    return [
        [(one.id, one.version, one.roles) for one in summary.instances],
        [(one.instance, one.image_id, one.status) for one in summary.held_images],
        {status: count for status, count in summary.images.items() if count},
        list(summary.blob_usage),
        (summary.restorable, summary.restorable_bytes),
        summary.oldest_due_at is None,
        [(count.type, count.status, count.tasks) for count in summary.tasks],
        [(one.instance, one.task_id, one.type, one.owner) for one in summary.held_tasks],
        summary.damaged,
    ]


async def history_of(catalog: Catalog, image_id: str) -> list[object]:
    """The entries of an image without what depends on time."""
    history = await catalog.get_history(image_id)
    return [
        (one.number, one.action, one.actor, one.details.keys() - {"duration_s", "mib_per_s"})
        for one in history.entries
    ]


async def unfinished(catalog: Catalog) -> list[int]:
    """The number of unfinished tasks of both owners."""
    return [await catalog.count_unfinished_tasks(owner) for owner in ("a", "b")]


async def accounts(catalog: Catalog) -> list[Account]:
    """Of both owners."""
    return [await catalog.get_account(owner) for owner in ("a", "b")]
