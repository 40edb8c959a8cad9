"""Tasks of a type that no instance has: they end with a sentence, and what they write ends with
them.
"""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest

from imaged.core.errors import SecretUnreadable
from imaged.core.lifecycle import Status
from imaged.core.task import TaskStatus
from imaged.core.uploading import begin_import
from imaged.services.periodic import ItemBackoff
from imaged.services.tasks import cleanup
from imaged.services.tasks.cleanup import UnrunnableTaskReaper
from support.cluster import Cluster
from support.faults import fails_for, override_calls
from support.node import A
from support.reversed_secret_box import ReversedSecretBox
from support.sample_images import draft, task

pytestmark = pytest.mark.anyio

A_DAY = timedelta(days=1).total_seconds()


class OneKey(ReversedSecretBox):
    """Another key than the one that was lost."""

    def open(self, sealed: bytes) -> bytes:
        """Read it, unless it was sealed with that one."""
        if sealed == b"lost":
            raise SecretUnreadable
        return super().open(sealed)


def strange(cluster: Cluster, **calls: object) -> UnrunnableTaskReaper:
    """Of an instance that has clone, verify and imports of what was staged."""
    catalog = override_calls(cluster.catalog, **calls)  # type: ignore[arg-type]
    node = cluster.node(beats=False)  # it holds nothing, and a week has many beats
    postponed = ItemBackoff("task_expiry", catalog.check)
    return UnrunnableTaskReaper(
        catalog, node.task_service.registry, OneKey(), node.clock, postponed, timedelta(days=7)
    )


async def test_unrunnable_tasks_fail_after_a_week(cluster: Cluster) -> None:
    """With a sentence for their owner; a task whose type is known waits on."""
    for name, kind in (("t", "magic"), ("v", "verify")):
        await cluster.catalog.add_task(task(name, type=kind))
    ending = strange(cluster)
    for _ in range(7):
        await ending.run_due()
        assert not (await cluster.catalog.get_task("t")).is_final
        await anyio.sleep(A_DAY)

    await ending.run_due()
    ended = await cluster.catalog.get_task("t")

    assert ended.status is TaskStatus.FAILURE
    assert ended.message == (
        "No server has been able to run tasks of the type 'magic' for 7d: the program that adds "
        "this type is missing. Ask the operator to install it, and then create the task again."
    )
    assert (await cluster.catalog.get_task("v")).status is TaskStatus.PENDING


async def test_an_unreadable_secret(cluster: Cluster) -> None:
    """It waits for an instance with its key, for as long; others wait on."""
    for name, sealed in (("lost", b"lost"), ("ours", b"ours"), ("none", None)):
        await cluster.catalog.add_task(task(name, type="clone", sealed=sealed))
    ending = strange(cluster)
    await anyio.sleep(6 * A_DAY)
    await ending.run_due()
    assert not (await cluster.catalog.get_task("lost")).is_final
    await anyio.sleep(A_DAY)

    await ending.run_due()

    ended = await cluster.catalog.get_task("lost")
    assert ended.message == (
        "No server has been able to read the secret that came with the task for 7d: the key that "
        "encrypted it is missing. Create the task again."
    )
    for name in ("ours", "none"):
        assert (await cluster.catalog.get_task(name)).status is TaskStatus.PENDING


async def test_their_drafts_end_with_them(cluster: Cluster) -> None:
    """A draft goes; an image whose import was asked for is queued again, and says why."""
    await cluster.catalog.add_image(draft("made", made_by=task("t1", type="magic")))
    await cluster.queued(A)
    await cluster.change(A, begin_import(task("t2", type="magic")))
    await anyio.sleep(7 * A_DAY)

    await strange(cluster).run_due()

    image = await cluster.image(A)
    assert image.status is Status.QUEUED
    assert "'magic'" in (await cluster.failure_of(A)).reason
    assert (await cluster.image("made")).status is Status.DELETED
    cluster.audit()


async def test_an_unendable_task_delays_no_other(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put off, and fills no batch."""
    monkeypatch.setattr(cleanup, "UNRUNNABLE_BATCH", 1)
    for name in ("t1", "t2"):
        await cluster.catalog.add_task(task(name, type="magic"))
    await anyio.sleep(7 * A_DAY)
    ending = strange(cluster, modify_task=fails_for(cluster.catalog.modify_task, "t1"))

    for _ in range(2):
        await ending.run_due()

    assert not (await cluster.catalog.get_task("t1")).is_final
    assert (await cluster.catalog.get_task("t2")).is_final
    assert len(ending.postponed) == 1
