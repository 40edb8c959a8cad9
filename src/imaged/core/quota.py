"""The limits of projects: what counts against them, and whether a change still fits.

A catalog asks this module in the transaction of every change, under the lock of the account.

Rule 1: the usage of a project is the sum over its images (``usage_of``), at every moment.
Rule 2: space is counted from before the first byte until the image can no longer be restored.
Rule 3: an image counts from its first record, so also the draft of a task, until it is deleted.
Rule 4: an upload counts from its begin until the image has data, or has failed; staged data waits
for its import, and so is not finished.
Rule 5: a limit of the project itself precedes the default.
Rule 6: only growth is refused. A limit below the usage deletes nothing.

Source: ``image_size_total``, ``image_stage_total``, ``image_count_total`` and
``image_count_uploading`` of Glance. See docs/decisions/0041 for what differs, and why.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from imaged.core.errors import QuotaExceeded
from imaged.core.image import Image
from imaged.core.lifecycle import FAILURE_EVENTS, GONE


class Resource(StrEnum):
    """What a project has a limit of."""

    TOTAL = "total"  # bytes stored, staged, or being written
    STAGED = "staged"  # bytes staged, or being staged
    IMAGES = "images"  # images that are not deleted
    UPLOADS = "uploads"  # images whose upload, staging or import is not finished


SIZES = frozenset({Resource.TOTAL, Resource.STAGED})  # the others are numbers of images

Usage = Mapping[Resource, int]  # has every resource; differences may be negative
Limits = Mapping[Resource, int | None]  # None: unlimited

NO_USAGE: Usage = dict.fromkeys(Resource, 0)
UNLIMITED: Limits = dict.fromkeys(Resource)

#: The names in the API of Glance, and in Keystone.
UNIFIED_LIMIT_NAMES: Mapping[Resource, str] = {
    Resource.TOTAL: "image_size_total",
    Resource.STAGED: "image_stage_total",
    Resource.IMAGES: "image_count_total",
    Resource.UPLOADS: "image_count_uploading",
}

_UNITS: Mapping[Resource, str] = {
    Resource.TOTAL: "bytes of data",
    Resource.STAGED: "bytes of staged data",
    Resource.IMAGES: "images",
    Resource.UPLOADS: "unfinished uploads",
}
_REMEDIES: Mapping[Resource, str] = {
    Resource.TOTAL: "Delete images; the data of a deleted one counts until it cannot be restored.",
    Resource.STAGED: "Import the staged data, or delete its images.",
    Resource.IMAGES: "Delete images.",
    Resource.UPLOADS: "Wait for the end of an upload or import, and import or delete staged data.",
}


@dataclass(frozen=True, slots=True)
class Account:
    """The usage of a project, and the limits of its own; for others the defaults hold."""

    owner: str
    usage: Usage = field(default_factory=lambda: NO_USAGE)
    limits: Limits = field(default_factory=dict)

    @property
    def is_unused(self) -> bool:
        """Whether the project has nothing in the catalog, and may be unknown."""
        return not self.limits and not any(self.usage.values())


@dataclass(frozen=True, slots=True)
class Recount:
    """The account of a project, and the usage that its images add up to."""

    account: Account
    counted: Usage

    @property
    def is_wrong(self) -> bool:
        """Whether they differ."""
        return dict(self.account.usage) != dict(self.counted)


LimitsOf = Callable[[Account], Limits]  # those that hold, of every resource


class LimitsUnknown(Exception):
    """The limits of a project must be read first, which a transaction cannot wait for."""

    def __init__(self, project: str) -> None:
        super().__init__(f"the limits of the project {project!r} must be read first")
        self.project = project


def limits_with_defaults(account: Account, defaults: Limits = UNLIMITED) -> Limits:
    """The limits that hold for a project."""
    return {**defaults, **account.limits}


def with_limits(account: Account, limits: Limits, reset: Collection[Resource] = ()) -> Account:
    """The account with these limits of its own, and without those to ``reset``."""
    own = {name: limit for name, limit in account.limits.items() if name not in reset}
    return replace(account, limits={**own, **limits})


def usage_of(image: Image) -> Usage:
    """What an image counts for. Staged data counts in ``total`` as well."""
    return {
        Resource.TOTAL: image.charge_bytes,
        Resource.STAGED: 0 if image.staged is None else image.staged.size_bytes,
        Resource.IMAGES: int(image.status not in GONE),
        Resource.UPLOADS: int(image.status in FAILURE_EVENTS),
    }


def charges(before: Image | None, after: Image) -> dict[str, Usage]:
    """The change of each account, in the order in which all transactions lock them.

    ``before``: None if the image is new.
    """
    more: defaultdict[str, Counter[Resource]] = defaultdict(Counter)
    more[after.owner].update(usage_of(after))
    if before is not None:
        more[before.owner].subtract(usage_of(before))
    return {owner: more[owner] for owner in sorted(more) if any(more[owner].values())}


def grows(more: Usage) -> bool:
    """Whether a change needs more of a resource, so that limits count."""
    return any(number > 0 for number in more.values())


def charge(account: Account, more: Usage, limits: Limits) -> Account:
    """The account after the change. Raises QuotaExceeded.

    No usage becomes negative: an older version beside this one counts bytes only, so images that it
    added are missing until the next recount.
    """
    usage = {name: max(0, account.usage[name] + more[name]) for name in Resource}
    for name in Resource:
        limit = limits[name]
        if more[name] > 0 and limit is not None and usage[name] > limit:
            raise QuotaExceeded(
                account.owner,
                name,
                used=account.usage[name],
                limit=limit,
                more=more[name],
                unit=_UNITS[name],
                advice=_REMEDIES[name],
            )
    return replace(account, usage=usage)


def full_resources(account: Account, limits: Limits) -> list[Resource]:
    """The resources of which the project has no more left."""
    return [
        name
        for name in Resource
        if (limit := limits[name]) is not None and account.usage[name] >= limit
    ]
