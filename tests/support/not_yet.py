"""What clients can ask of a service of images, and imaged does not have yet.

When the calls of a row are there, the row goes: tests of the clients then want its commands given.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class NotYet:
    """Something that is missing, and why. Commands and methods are named as their clients do."""

    what: str
    why: str
    left_out: str = ""  # a pattern of those that no test gives
    refused: Collection[str] = ()  # those that tests give, and see refused


NOT_YET = (
    NotYet(
        "definitions of metadata",
        "none of their calls is there",
        left_out=r"metadef|^md-",
    ),
    NotYet(
        "the cache of a server",
        "none of its calls is there: stores are read without one",
        left_out=r"cache|^queue_image$",
    ),
    NotYet(
        "places of data",
        "users may not say where data is; services can neither, yet, nor read it",
        refused=(
            *("location-add", "location-update", "location-delete", "add-location"),
            *("add_image_location", "image_locations"),
        ),
    ),
    NotYet(
        "copies in several stores",
        "an image is in one store, whose copy goes with the image",
        refused=("stores-delete",),
    ),
)

REFUSED = frozenset(name for one in NOT_YET for name in one.refused)

_LEFT_OUT = re.compile("|".join(one.left_out for one in NOT_YET if one.left_out))


def given_of(known: Collection[str]) -> set[str]:
    """Those of a client's commands or methods that its tests must give."""
    return {name for name in known if not _LEFT_OUT.search(name)}
