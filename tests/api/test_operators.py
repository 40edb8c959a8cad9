"""What operators do with records: see what waits, and take it back."""

from __future__ import annotations

import pytest

from imaged.core.deletion import expire
from imaged.core.errors import ImageNotFound, NotRestorable
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


async def test_restored_image_is_as_it_was(service: Service) -> None:
    """Data, properties and tags are back, and its users see it again."""
    image_id = await service.create_active(b"hello", tags=["t"], os_distro="debian")
    before = (await service.call("GET", f"/v2/images/{image_id}")).json()
    await service.call("DELETE", f"/v2/images/{image_id}")
    await service.images.restore(image_id)
    after = (await service.call("GET", f"/v2/images/{image_id}")).json()
    assert {**after, "updated_at": ""} == {**before, "updated_at": ""}
    data = await service.call("GET", f"/v2/images/{image_id}/file")
    assert data.body == b"hello"
    assert await waiting(service) == []


async def test_images_that_cannot_be_restored(service: Service) -> None:
    """What is active, was never there, or is expired, is not restored."""
    image_id = await service.create_active()
    with pytest.raises(NotRestorable):
        await service.images.restore(image_id)
    with pytest.raises(ImageNotFound):
        await service.images.restore("00000000-0000-4000-8000-00000000dead")
    await service.call("DELETE", f"/v2/images/{image_id}")
    await service.facts.modify_image(image_id, expire(service.image(image_id)))
    with pytest.raises(NotRestorable):
        await service.images.restore(image_id)
    (image,) = [image async for image in service.images.pending()]
    assert image.is_expired
