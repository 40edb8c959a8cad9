"""The members of images: the calls by which projects share images and answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from imaged.core import sharing
from imaged.core.access import Caller
from imaged.core.member import Member, MemberStatus
from imaged.core.precondition import Precondition, on_condition
from imaged.ports.image_catalog import ImageCatalog


@dataclass(frozen=True, slots=True)
class MemberSettings:
    """The limit of members."""

    max_members: int | None  # of one image; None: no limit


@dataclass(slots=True, eq=False)
class Members:
    """The calls on members of images. ``settings`` may be replaced at run time.

    Permission (``core/sharing.py``) and the condition of the request are checked on the locked
    record.
    """

    catalog: ImageCatalog
    settings: MemberSettings

    async def list(self, caller: Caller, image_id: str) -> Sequence[Member]:
        """The members that the caller may see. Raises ImageNotFound, NotShared."""
        return sharing.members_seen_by(caller, await self.catalog.get_image(image_id))

    async def show(self, caller: Caller, image_id: str, member_id: str) -> Member:
        """One member. Raises ImageNotFound, MemberNotFound."""
        return sharing.require_member(caller, await self.catalog.get_image(image_id), member_id)

    async def add(
        self, caller: Caller, image_id: str, member_id: str, condition: Precondition | None = None
    ) -> Member:
        """Share the image with a project. Raises the errors of ``sharing.add_member``."""
        add = on_condition(
            condition, sharing.add_member(caller, member_id, self.settings.max_members)
        )
        return (await self.catalog.modify_image(image_id, add)).members[member_id]

    async def answer(
        self,
        caller: Caller,
        image_id: str,
        member_id: str,
        status: MemberStatus,
        condition: Precondition | None = None,
    ) -> Member:
        """Record the member's answer. Raises the errors of ``sharing.answer``."""
        change = on_condition(condition, sharing.answer(caller, member_id, status))
        return (await self.catalog.modify_image(image_id, change)).members[member_id]

    async def remove(
        self, caller: Caller, image_id: str, member_id: str, condition: Precondition | None = None
    ) -> None:
        """End the sharing. Raises the errors of ``sharing.remove_member``."""
        change = on_condition(condition, sharing.remove_member(caller, member_id))
        await self.catalog.modify_image(image_id, change)
