"""Drafts: images that stay invisible until their task has completed them."""

from __future__ import annotations

from dataclasses import replace

from imaged.core.claim import Claim, require_claim
from imaged.core.declared_formats import require_formats_declared
from imaged.core.image import ClaimedChange, Image
from imaged.core.lifecycle import Status
from imaged.core.task import Task


def begin_draft(image: Image, task: Task) -> Image:
    """The image as a draft, invisible until its task completes it. Raises FormatsUnset."""
    require_formats_declared(image)
    return replace(image, draft=True, status=Status.IMPORTING, task=replace(task, writes=image.id))


def describe(model: Image) -> ClaimedChange:
    """Copy the metadata that became known after the work began, from ``model`` to the draft."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        return replace(
            image,
            name=model.name,
            disk_format=model.disk_format,
            container_format=model.container_format,
            min_ram_mib=model.min_ram_mib,
            min_disk_gib=model.min_disk_gib,
            tags=model.tags,
            properties=model.properties,
        )

    return change
