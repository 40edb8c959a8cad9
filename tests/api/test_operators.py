"""What operators do with records: see what waits, and take it back."""

from __future__ import annotations

import pytest

from support.service import Service

pytestmark = pytest.mark.asyncio


async def waiting(service: Service) -> list[str]:
    """The ids of what waits."""
    return [image.id async for image in service.images.pending(page_size=2)]


async def test_restorable_images_are_listed_oldest_first(service: Service) -> None:
    """All pages, of all owners, and nothing else."""
    made = [await service.create_active() for _ in range(5)]
    await service.create_active()
    assert await waiting(service) == []
    for image_id in reversed(made):
        await service.call("DELETE", f"/v2/images/{image_id}")
    assert await waiting(service) == made[::-1]
