"""The rows of the members of images. They are read with one image, and never with a list."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, bindparam, delete, exists, insert, select, update

from imaged.catalogs import rows
from imaged.catalogs.tables import image_members, images
from imaged.core.image import Image
from imaged.core.member import Member

#: Whether the image of a row has members: most have none, and then no other statement is needed.
ARE_THERE = exists().where(image_members.c.image_id == images.c.id).correlate(images)

_THESE = image_members.c.image_id == bindparam("this")
_THIS = image_members.c.member_id == bindparam("this_member")
_READ = select(image_members).where(_THESE).order_by(image_members.c.member_id)
_ADD = insert(image_members)
_UPDATE = update(image_members).where(_THESE, _THIS)
_REMOVE = delete(image_members).where(_THESE, _THIS)


def read(db: Connection, image_id: str) -> Mapping[str, Member]:
    """Read the members of one image, by their ids."""
    found = db.execute(_READ, {"this": image_id})
    return {row.member_id: rows.member_of(row) for row in found}


def write(db: Connection, before: Image, after: Image) -> None:
    """Write what differs between the members of two states of one image, whose row is locked."""
    for member_id in before.members.keys() - after.members.keys():
        db.execute(_REMOVE, {"this": after.id, "this_member": member_id})
    for member_id, member in after.members.items():
        if member_id not in before.members:
            dated = {"image_created_at": after.created_at}
            db.execute(_ADD, {**rows.member_values(after.id, member), **dated})
        elif member != before.members[member_id]:
            values = {"status": member.status, "updated_at": member.updated_at}
            db.execute(_UPDATE, {"this": after.id, "this_member": member_id, **values})
