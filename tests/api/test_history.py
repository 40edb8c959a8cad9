"""The history of an image: who sees it, and how much of it."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from support.service import Service

pytestmark = pytest.mark.asyncio

NOWHERE = "00000000-0000-4000-8000-000000000000"


async def test_who_deleted_it_and_from_where(service: Service) -> None:
    """An administrator reads it in one call, with the time of the scrub, though the image is gone
    for its users.
    """
    image_id = await service.create_active(b"hello", name="golden")
    await service.call("DELETE", f"/v2/images/{image_id}")
    assert (await service.call("GET", f"/v2/images/{image_id}")).status == 404

    reply = await service.call("GET", f"/v2/images/{image_id}/history", caller="root")
    answer = reply.json()
    assert reply.status == 200
    assert (answer["id"], answer["status"]) == (image_id, "pending_delete")
    assert [one["action"] for one in answer["history"]] == [
        "created",
        "upload_started",
        "uploaded",
        "deleted",
    ]
    deleted = answer["history"][-1]
    assert deleted["request_id"].startswith("req-")
    assert (deleted["user_id"], deleted["project_id"]) == ("alice", "p1")
    assert deleted["peer"] == "203.0.113.7"
    assert deleted["details"] == {"size_bytes": 5, "scrub_due_at": answer["scrub_due_at"]}


async def test_the_time_of_the_scrub_is_that_of_the_delay_now(service: Service) -> None:
    """Changing the delay moves it, and a restored image has none."""
    image_id = await service.create_active()
    await service.call("DELETE", f"/v2/images/{image_id}")
    path = f"/v2/images/{image_id}/history"
    before = (await service.call("GET", path)).json()
    service.images.settings = replace(service.images.settings, delay=timedelta(hours=3))
    after = (await service.call("GET", path)).json()
    moved = datetime.fromisoformat(after["scrub_due_at"])

    assert moved - datetime.fromisoformat(before["scrub_due_at"]) == timedelta(hours=2)
    await service.images.restore(image_id)
    assert (await service.call("GET", path)).json()["scrub_due_at"] is None


@pytest.mark.parametrize(
    ("caller", "names"),
    [
        ("root", {"at", "action", "user_id", "project_id", "request_id", "peer", "details"}),
        ("alice", {"at", "action", "user_id", "project_id", "request_id", "details"}),
        ("carol", {"at", "action", "user_id", "project_id", "request_id", "details"}),
        ("bob", {"at", "action", "details"}),
    ],
)
async def test_what_each_caller_sees(service: Service, caller: str, names: set[str]) -> None:
    """Other projects see what happened to an open image, and when."""
    image_id = await service.create(visibility="community")
    reply = await service.call("GET", f"/v2/images/{image_id}/history", caller=caller)
    (created,) = reply.json()["history"]

    assert created.keys() == names
    assert created["action"] == "created"


async def test_an_image_that_the_caller_does_not_see(service: Service) -> None:
    """Unknown, private, or deleted: it is not found."""
    private, deleted = await service.create(), await service.create(visibility="community")
    await service.call("DELETE", f"/v2/images/{deleted}")

    for image_id in (NOWHERE, private, deleted):
        reply = await service.call("GET", f"/v2/images/{image_id}/history", caller="bob")
        assert reply.status == 404, image_id
