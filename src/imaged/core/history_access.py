"""Permissions: which callers may read the history of an image, and how much of it."""

from __future__ import annotations

from dataclasses import replace

from imaged.core.access import Caller, is_owner, permits, require_visible
from imaged.core.errors import ImageNotFound
from imaged.core.history import ABOUT_MEMBERS, Actor, ImageHistory
from imaged.core.image import Image
from imaged.core.lifecycle import GONE
from imaged.core.policy_rules import Rule


def require_history(caller: Caller, image: Image) -> Image:
    """Return the image, if the caller may read its history: of a deleted one its owner and admins,
    who may ask for its restoration. Raises ImageNotFound.
    """
    if image.status in GONE and not image.draft and is_owner(caller, image):
        if permits(caller, Rule.GET_IMAGE, image):
            return image
        raise ImageNotFound(image.id)
    return require_visible(caller, image)


def history_as_seen_by(caller: Caller, history: ImageHistory) -> ImageHistory:
    """The history without what the caller may not see: addresses are for administrators; users,
    details, and with whom the image is shared, for the owner too.
    """
    if caller.is_admin:
        return history
    if is_owner(caller, history.image):
        shown = [replace(one, actor=replace(one.actor, peer=None)) for one in history.entries]
    else:
        shown = [
            replace(one, actor=Actor(), details={})
            for one in history.entries
            if one.action not in ABOUT_MEMBERS
        ]
    return replace(history, entries=shown)
