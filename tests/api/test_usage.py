"""``GET /v2/info/usage``, and what a refusal says."""

from __future__ import annotations

import pytest

from imaged.core.limits import MIB
from support.quotas import limits
from support.service import Service

pytestmark = pytest.mark.asyncio

USAGE = "/v2/info/usage"
UNLIMITED = -1


async def test_a_project_without_anything(service: Service) -> None:
    """All resources are there, in the form and the units of Glance; -1 is unlimited."""
    nothing = {"usage": 0, "limit": UNLIMITED}

    reply = await service.call("GET", USAGE)

    assert reply.status == 200
    assert reply.json() == {
        "usage": {
            "image_size_total": nothing,
            "image_stage_total": nothing,
            "image_count_total": nothing,
            "image_count_uploading": nothing,
        }
    }


async def test_sizes_are_in_mib_and_rounded_down(service: Service) -> None:
    """Of the caller's project alone."""
    await service.catalog.set_limits("p1", limits(total=3 * MIB + 1, images=7, uploads=0))
    await service.catalog.set_limits("p1", limits(uploads=None))
    await service.create_active(b"x" * (2 * MIB - 1))
    await service.create()

    used = (await service.call("GET", USAGE)).json()["usage"]
    of_others = (await service.call("GET", USAGE, caller="bob")).json()["usage"]

    assert used == {
        "image_size_total": {"usage": 1, "limit": 3},
        "image_stage_total": {"usage": 0, "limit": UNLIMITED},
        "image_count_total": {"usage": 2, "limit": 7},
        "image_count_uploading": {"usage": 0, "limit": UNLIMITED},
    }
    assert of_others["image_count_total"] == {"usage": 0, "limit": UNLIMITED}


@pytest.mark.parametrize(
    ("resource", "limit", "told"),
    [
        ("images", 1, "has a limit 'images' of 1 images: 1 are used, and 1 more are needed"),
        ("total", 9, "a limit 'total' of 9 bytes of data: 0 are used, and 10 more are needed"),
        ("uploads", 0, "a limit 'uploads' of 0 unfinished uploads: 0 are used, and 1 more"),
    ],
)
async def test_a_refusal_says_usage_and_limit(
    service: Service, resource: str, limit: int, told: str
) -> None:
    """With 413; the image is as it was before, and fits when the limit is higher."""
    image_id = await service.create()
    await service.catalog.set_limits("p1", limits(**{resource: limit}))
    path = f"/v2/images/{image_id}"

    async def ask() -> tuple[int, str]:
        if resource == "images":
            reply = await service.call("POST", "/v2/images", {})
        else:
            reply = await service.put_data(image_id, b"x" * 10)
        return reply.status, reply.text

    status, text = await ask()
    assert status == 413
    assert told in text
    assert service.refused == [resource]
    assert (await service.call("GET", path)).json()["status"] == "queued"

    await service.catalog.set_limits("p1", limits(**{resource: limit + 1}))
    assert (await ask())[0] < 300


async def test_an_administrator_needs_room_where_the_image_goes(service: Service) -> None:
    """The limits are those of the owner, not those of the caller."""
    await service.catalog.set_limits("p7", limits(images=0))

    reply = await service.call("POST", "/v2/images", {"owner": "p7"}, caller="root")

    assert reply.status == 413
    assert "The project p7 has a limit 'images'" in reply.text
