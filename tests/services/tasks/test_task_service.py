"""What the task service keeps in order: expiry, and types that explain what they want."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

import anyio
import msgspec
import pytest

from imaged.core.access import Caller
from imaged.core.errors import (
    InvalidInput,
    NotPermitted,
    TaskNotFound,
    TooManyTasks,
    UnknownTaskType,
)
from imaged.core.lifecycle import Status
from imaged.core.policy import Policy
from imaged.core.query import TaskQuery
from imaged.core.task import TaskStatus
from imaged.core.task_access import caller_of
from imaged.services.tasks.task_service import TaskServiceSettings
from imaged.services.tasks.task_type import ImageId, TaskInput, read_input
from support.callers import ADMIN, OWNER
from support.cluster import Cluster
from support.node import A, B
from support.sample_images import task
from support.settings import configured

pytestmark = pytest.mark.anyio


class Inner(msgspec.Struct):
    """Something deeper."""

    size: int


class Asked(TaskInput):
    """All kinds of fields."""

    image_id: ImageId
    many: Annotated[list[Inner], msgspec.Meta(max_length=2)] = msgspec.field(default_factory=list)


class Kind:
    """Only its input matters."""

    input = Asked


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "'image_id' of the task's input is missing"),
        ({"image_id": A, "odd": 1}, "'odd' of the task's input is not known"),
        ({"image_id": 7}, "'image_id' of the task's input is invalid: expected `str`"),
        ({"image_id": "x"}, "'image_id' of the task's input is invalid"),
        ({"image_id": A, "many": [{}]}, r"'many\[0\].size' of the task's input is missing"),
        ({"image_id": A, "many": [{"size": 1}] * 3}, "'many' of the task's input"),
    ],
)
async def test_an_input_that_is_not_understood(fields: dict[str, Any], sentence: str) -> None:
    """The field is named, as the client wrote it."""
    with pytest.raises(InvalidInput, match=sentence):
        read_input(Kind(), fields)  # type: ignore[arg-type]


async def test_types_that_are_not_there(cluster: Cluster) -> None:
    """Those that clients may ask for are named."""
    with pytest.raises(UnknownTaskType, match=r"'frob'.*possible: clone, verify"):
        await cluster.node().task_service.create(OWNER, "frob", {})
    with pytest.raises(UnknownTaskType, match="api_image_import"):
        await cluster.node().task_service.create(OWNER, "api_image_import", {"image_id": A})


async def test_expired_tasks_go_by_themselves(cluster: Cluster) -> None:
    """Those of all owners, after the time that was configured when they were made."""
    await cluster.active(A)
    node = cluster.node()
    node.task_service.settings = configured(TaskServiceSettings, time_to_live=timedelta(hours=1))
    short = await node.do_task("verify", {"image_id": A}, OWNER)
    node.task_service.settings = configured(TaskServiceSettings, time_to_live=timedelta(hours=3))
    long = await node.do_task("verify", {"image_id": A}, ADMIN)
    clone = await node.do_task("clone", {"image_id": A}, ADMIN)
    waits = await node.task_service.create(OWNER, "verify", {"image_id": A})
    assert clone.result is not None

    assert await node.task_service.expire_due() == 0
    await anyio.sleep(2 * 3600)
    assert await node.task_service.expire_due() == 1
    with pytest.raises(TaskNotFound):
        await node.task_service.show(OWNER, short.id)
    assert (await node.task_service.show(ADMIN, long.id)).status is TaskStatus.SUCCESS
    await anyio.sleep(3600)
    assert await node.task_service.expire_due() == 2

    left = await node.task_service.list(TaskQuery(caller=ADMIN))
    assert [task.id for task in left] == [waits.id]
    assert (await cluster.image(str(clone.result["image_id"]))).content is not None


async def test_only_its_project_sees_the_query_of_a_url(cluster: Cluster) -> None:
    """It may be a credential. Others see the rest: of a task, and of those of an image."""
    await cluster.active(A)
    service = cluster.node().task_service
    signed, hidden = "https://s3.test/disk?signature=made-up", "https://s3.test/disk?***"
    await cluster.catalog.add_task(task("t", image_id=A, input={"uri": signed}))

    for caller, uri in ((OWNER, signed), (ADMIN, hidden)):
        shown = await service.show(caller, "t")
        assert [shown] == await service.list_for_image(caller, A)
        assert shown.input == {"uri": uri}


async def test_an_owner_has_room_for_so_many(cluster: Cluster) -> None:
    """Those that wait or run count; what has ended makes room; others have room of their own."""
    await cluster.active(A)
    node = cluster.node()
    node.task_service.settings = configured(TaskServiceSettings, max_unfinished_per_owner=2)
    first = await node.task_service.create(OWNER, "verify", {"image_id": A})
    await node.task_service.create(OWNER, "clone", {"image_id": A})
    before = dict(cluster.catalog.images)

    with pytest.raises(TooManyTasks, match=r"p1 has 2 tasks.*Wait until some have ended"):
        await node.task_service.create(OWNER, "verify", {"image_id": A})
    with pytest.raises(TooManyTasks):
        await node.task_service.create(OWNER, "clone", {"image_id": A})
    assert cluster.catalog.images == before  # no draft is left
    assert len(cluster.catalog.tasks) == 2
    await node.task_service.create(ADMIN, "verify", {"image_id": A})
    await node.task_service.cancel(OWNER, first.id)
    await node.task_service.create(OWNER, "verify", {"image_id": A})

    assert await node.run_tasks() == 3
    await node.task_service.create(OWNER, "verify", {"image_id": A})


async def test_an_import_call_needs_room_too(cluster: Cluster) -> None:
    """It makes a task like any other; the image stays as it is."""
    await cluster.active(A)
    await cluster.queued(B, owner="p0")
    node = cluster.node()
    await node.stage(B)
    node.task_service.settings = configured(TaskServiceSettings, max_unfinished_per_owner=1)
    await node.task_service.create(ADMIN, "verify", {"image_id": A})

    with pytest.raises(TooManyTasks):
        await node.ask_import(B)
    assert (await cluster.image(B)).status is Status.UPLOADING
    await node.run_tasks()
    await node.ask_import(B)
    assert (await cluster.image(B)).status is Status.IMPORTING


async def test_many_expired_tasks(cluster: Cluster) -> None:
    """More than one look takes."""
    await cluster.active(A)
    node = cluster.node(beats=False)
    for _ in range(230):
        task = await node.task_service.create(OWNER, "verify", {"image_id": A})
        await node.task_service.cancel(OWNER, task.id)
    await anyio.sleep(49 * 3600)

    assert await node.task_service.expire_due() == 230
    assert await node.task_service.expire_due() == 0


async def test_tasks_of_another_project_are_not_seen(cluster: Cluster) -> None:
    """They do not exist for its readers; without a role, tasks cannot be used at all."""
    await cluster.active(A)
    task = await cluster.node().task_service.create(OWNER, "verify", {"image_id": A})
    stranger = Caller("x", "p9", frozenset({"reader"}))
    with pytest.raises(TaskNotFound):
        await cluster.node().task_service.show(stranger, task.id)
    assert not await cluster.node().task_service.list(TaskQuery(caller=stranger))
    with pytest.raises(NotPermitted, match="do not allow to use tasks"):
        await cluster.node().task_service.list(
            TaskQuery(caller=replace(stranger, roles=frozenset()))
        )


async def test_a_task_obeys_the_rules_of_when_it_runs(cluster: Cluster) -> None:
    """The roles are those of its creation, with what they imply; the rules are of now."""
    await cluster.active(A)
    node = cluster.node()
    task = await node.task_service.create(OWNER, "verify", {"image_id": A})
    node.runner.policy = Policy({"modify_image": "role:auditor"})
    await node.run_tasks()
    ended = await node.task_service.show(OWNER, task.id)

    assert ended.status is TaskStatus.FAILURE
    assert "The rule 'modify_image' of the policy" in (ended.message or "")
    assert caller_of(replace(task, roles=("admin",))).roles >= {"member", "reader"}
    assert caller_of(replace(task, roles=("member",))).roles == {"member", "reader"}
    assert caller_of(replace(task, roles=("service",))).roles == {"service"}
