"""The audit: whether the ledger, the accounts and the leases are consistent with the images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from contracts.catalog_samples import ALL, STORE, all_images
from imaged.core.blob import BlobState
from imaged.core.image import Image
from imaged.core.lifecycle import Status
from imaged.core.query import TaskQuery
from imaged.core.task import Task, TaskStatus
from imaged.ports.catalog import Catalog
from support.quotas import usage_by_owner


async def audit(catalog: Catalog) -> None:
    """Compare all of them, through the port alone."""
    images = await all_images(catalog)
    holders = Counter(key for image in images for key in image.held)
    keys = set(await catalog.list_keys(STORE))
    referred_to = {location.key for image in images for location in image.locations}
    assert holders.keys() | referred_to <= keys

    claimed = {key for image in images if image.claim is not None for key in image.held}
    for key in keys:
        blob = await catalog.get_blob(key)
        assert blob is not None
        assert blob.holders == holders[key], blob
        assert (blob.state is BlobState.DOOMED) == (holders[key] == 0), blob
        assert (blob.state is BlobState.WRITING) <= (key in claimed), blob
    doomed = {blob.key for blob in await catalog.list_doomed(ALL)}
    assert doomed == {key for key in keys if not holders[key]}

    for image in images:
        assert not image.is_expired or image.locations, image
    for owner, used in usage_by_owner(images).items():
        assert (await catalog.get_account(owner)).usage == used, owner
    await _audit_recounts(catalog)

    tasks = await catalog.list_tasks(TaskQuery(limit=ALL))
    claims = {image.claim for image in images if image.claim is not None}
    claims |= {task.claim for task in tasks if task.claim is not None}
    assert set(await catalog.renew_leases(claims)) == claims
    assert set(await catalog.list_attempts()) == {claim.token for claim in claims}
    _audit_tasks(images, tasks)


async def _audit_recounts(catalog: Catalog) -> None:
    """No account is wrong; and what the catalog counts is what the core says."""
    owner: str | None = None
    while (recount := await catalog.recount_next(owner)) is not None:
        owner = recount.account.owner
        assert not recount.is_wrong, recount


def _audit_tasks(images: Sequence[Image], tasks: Sequence[Task]) -> None:
    """A task that writes an image is in it exactly until it is final."""
    writing = {task.writes: task for task in tasks if task.writes and not task.is_final}
    assert writing == {image.id: image.task for image in images if image.task is not None}
    for image in images:
        assert (image.task is not None) == (image.status is Status.IMPORTING), image
    for task in tasks:
        assert task.is_final == (task.expires_at is not None), task
        works = task.status is TaskStatus.PROCESSING and task.writes is None
        assert (task.claim is not None) == works, task
