"""Reports damage: a mark on the image, and an event in the log for each problem."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import structlog

from imaged.core.errors import DataDamaged, ImagedError
from imaged.core.image import Image
from imaged.core.integrity import mark_damage
from imaged.ports.image_catalog import ImageCatalog

log = structlog.get_logger()


def log_damage(image_id: str, problems: Sequence[str]) -> None:
    """Log the problems for the operator."""
    for problem in problems:
        log.error("image.damaged", image_id=image_id, problem=problem)


class DamageReporter:
    """Informs operators that stored bytes differ from their record."""

    def __init__(self, catalog: ImageCatalog) -> None:
        self._catalog = catalog

    async def note(self, image: Image, problems: Sequence[str]) -> None:
        """Mark the image with the result of a complete verification; the mark is never removed by
        this method.

        Raises ImageNotFound, CatalogError.
        """
        log_damage(image.id, problems)
        await self._catalog.modify_image(image.id, mark_damage(image, problems))

    @asynccontextmanager
    async def reporting(self, image: Image) -> AsyncIterator[None]:
        """Report the damage that ends the block, and raise it again.

        An image that is marked already keeps its mark and is not reported again, because every
        download finds the same damage. If the mark cannot be written, the block still raises the
        damage.
        """
        try:
            yield
        except DataDamaged as damage:
            if image.damage is None:
                try:
                    await self.note(image, damage.problems)
                except ImagedError as error:
                    log.warning("image.mark_failed", image_id=image.id, error=str(error))
            raise
