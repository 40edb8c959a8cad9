"""Usage and limits of projects, in few words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from imaged.core.errors import QuotaExceeded
from imaged.core.image import Image
from imaged.core.quota import Account, Limits, Resource, Usage, usage_of
from imaged.ports.image_catalog import AccountCatalog


def usage(total: int = 0, staged: int = 0, images: int = 0, uploads: int = 0) -> Usage:
    """The usage of a project, or of an image."""
    return dict(zip(Resource, (total, staged, images, uploads), strict=True))


def limits(**numbers: int | None) -> Limits:
    """Limits by the names of their resources."""
    return {Resource(name): number for name, number in numbers.items()}


def account(owner: str, used: Usage | None = None, own: Limits | None = None) -> Account:
    """An account; without usage, and without limits of its own."""
    return Account(owner, used or usage(), own or {})


def usage_by_owner(images: Iterable[Image]) -> dict[str, Usage]:
    """What the images of each project add up to."""
    found: dict[str, Counter[Resource]] = {}
    for image in images:
        found.setdefault(image.owner, Counter(usage())).update(usage_of(image))
    return {owner: dict(used) for owner, used in found.items()}


async def used_bytes(catalog: AccountCatalog, owner: str = "p1") -> int:
    """The bytes that a project is charged for."""
    return (await catalog.get_account(owner)).usage[Resource.TOTAL]


async def limit_total(catalog: AccountCatalog, owner: str, limit: int | None) -> Account:
    """Set the limit of the bytes of a project; None: unlimited."""
    return await catalog.set_limits(owner, limits(total=limit))


def refusal(resource: str = "total", project: str = "p1") -> QuotaExceeded:
    """An error of a project that may have a hundred of a resource, and wants one more."""
    return QuotaExceeded(
        project, resource, used=100, limit=100, more=1, unit="units", advice="Have less."
    )
