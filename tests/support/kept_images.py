"""Images that a workspace keeps, uploaded without HTTP."""

from __future__ import annotations

from typing import Any

import anyio

from imaged.config import load
from imaged.core.access import Caller
from imaged.daemon.container import ServiceContainer
from imaged.daemon.drivers import open_drivers
from support.command import Workspace

ADMIN = Caller("root", "p0", frozenset({"admin"}))


def keep_image(
    workspace: Workspace, name: str, data: bytes = b"data", *, deleted: bool = True
) -> str:
    """Upload an image, and perhaps delete it; its id."""
    config = load(workspace.file, {})

    async def body() -> Any:
        yield data

    async def run() -> str:
        async with open_drivers(config) as parts:
            services = ServiceContainer(parts, config)
            formats = {"disk_format": "raw", "container_format": "bare"}
            image = await services.images.create(ADMIN, {"name": name, **formats})
            await services.ingest.upload(ADMIN, image.id, body())
            if deleted:
                await services.images.delete(ADMIN, image.id)
            return image.id

    return anyio.run(run)
