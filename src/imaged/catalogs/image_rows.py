"""The rows that make up one image: locked, read, and written where they differ.

No join multiplies rows: a claim is one to one with its image, and locations come from a statement
of their own. So do the tasks of importing images; no other image has one.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, cast

from sqlalchemy import (
    Connection,
    Integer,
    Select,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from imaged.catalogs import dialects, image_members, rows, task_rows
from imaged.catalogs.dialects import SQLITE, is_any_of
from imaged.catalogs.image_places import locations_of, with_places
from imaged.catalogs.prepared import PreparedSelect, PreparedWrite
from imaged.catalogs.rows import AnyRow
from imaged.catalogs.tables import (
    blobs,
    claims,
    image_history,
    image_locations,
    image_properties,
    image_tags,
    images,
)
from imaged.core.errors import ImageNotFound
from imaged.core.history import HISTORY_LIMIT, Actor, HistoryEntry, ImageHistory, entry_of
from imaged.core.image import Image, property_text
from imaged.core.lifecycle import Status

READ = select(
    images,
    claims.c.token,
    claims.c.holder,
    claims.c.lease,
    claims.c.ahead_bytes,
).select_from(images.outerjoin(claims))

#: A row that ``READ`` returned. Lookups by name are ten times faster than in SQLAlchemy's row,
#: which took a third of the time of a page of 25.
_Found = cast("Any", namedtuple)("_Found", READ.selected_columns.keys())  # noqa: PYI024 - no types
WIDTH = len(_Found._fields)  # the columns of ``READ``

_LOCATIONS = (
    select(
        image_locations.c.image_id,
        image_locations.c.position,
        blobs.c.key,
        blobs.c.store,
        blobs.c.size_bytes,
    )
    .join_from(image_locations, blobs)
    .order_by(image_locations.c.position)
)

_THIS = images.c.id == bindparam("this")
_LOCK = select(images.c.id).where(_THIS).with_for_update()
_SHOW = READ.add_columns(image_members.ARE_THERE.label("has_members")).where(_THIS)
_READ_THIS = PreparedSelect(_SHOW)
_READ_THIS_WITH_PLACES = PreparedSelect(with_places(_SHOW, images))
_LOCATIONS_OF_THIS = PreparedSelect(
    _LOCATIONS.where(image_locations.c.image_id == bindparam("this"))
)
_LOCATIONS_OF_THESE = PreparedSelect(
    _LOCATIONS.where(is_any_of(image_locations.c.image_id, "these"))
)
_UPDATE = PreparedWrite(update(images).where(_THIS))

_NEWEST = image_history.alias("newest")

_ADD_TAGS = PreparedWrite(insert(image_tags))
_REMOVE_TAGS = delete(image_tags).where(
    image_tags.c.image_id == bindparam("this"),
    image_tags.c.tag.in_(bindparam("these", expanding=True)),
)
_ADD_PROPERTIES = PreparedWrite(insert(image_properties))
_REMOVE_PROPERTIES = delete(image_properties).where(
    image_properties.c.image_id == bindparam("this"),
    image_properties.c.name.in_(bindparam("these", expanding=True)),
)
#: In SQLite, whose pages have no checksums, a row whose number was damaged prevents no change.
_ADD_ENTRY = PreparedWrite(insert(image_history).prefix_with("OR REPLACE", dialect="sqlite"))
_HISTORY = (
    select(image_history)
    .where(image_history.c.image_id == bindparam("this"))
    .order_by(image_history.c.number)
)
_ENTRY = _HISTORY.limit(1).offset(bindparam("skipped", type_=Integer))
_COUNT_ENTRIES = (
    select(func.count())
    .select_from(image_history)
    .where(image_history.c.image_id == bindparam("this"))
)
#: The entries before the newest ``HISTORY_LIMIT``; none if there are fewer.
_DROP_OLD_ENTRIES = delete(image_history).where(
    image_history.c.image_id == bindparam("this"),
    image_history.c.number
    < select(_NEWEST.c.number)
    .where(_NEWEST.c.image_id == bindparam("this"))
    .order_by(_NEWEST.c.number.desc())
    .offset(HISTORY_LIMIT - 1)
    .limit(1)
    .scalar_subquery(),
)
_ADD_LOCATIONS = PreparedWrite(insert(image_locations))
_MOVE_LOCATION = update(image_locations).where(
    image_locations.c.image_id == bindparam("this"),
    image_locations.c.key == bindparam("this_key"),
)
_REMOVE_LOCATIONS = delete(image_locations).where(
    image_locations.c.image_id == bindparam("this"),
    image_locations.c.key.in_(bindparam("these", expanding=True)),
)


def lock(db: Connection, image_id: str) -> None:
    """Lock an image, if it exists: the first lock of every transaction that changes one."""
    dialects.lock(db, _LOCK, {"this": image_id})


def read(db: Connection, image_id: str) -> Image:
    """Read one image, with its members. Raises ImageNotFound."""
    is_sqlite = db.dialect.name == SQLITE
    rows_found = (_READ_THIS if is_sqlite else _READ_THIS_WITH_PLACES).rows(db, {"this": image_id})
    if not rows_found:
        raise ImageNotFound(image_id)
    row = rows_found[0]
    found, has_members = _Found._make(row[:WIDTH]), row[WIDTH]
    if is_sqlite:
        located = rows.locations_by_image(_LOCATIONS_OF_THIS.rows(db, {"this": image_id}))
        places = located.get(image_id, {})
    else:
        places = locations_of(row[WIDTH + 1])
    tasks = task_rows.writers(db, _importing([found]))
    members = image_members.read(db, image_id) if has_members else {}
    return rows.image_of(found, places, tasks.get(image_id), members)


def read_history(db: Connection, image_id: str) -> ImageHistory:
    """Read one image with its history. Raises ImageNotFound.

    What was done is told as far as it can be read: one damaged row does not hide all others.
    """
    image = read(db, image_id)
    found = _read_entries(db, _HISTORY, {"this": image_id})
    if not isinstance(found, str):
        return ImageHistory(image, found)
    entries: list[HistoryEntry] = []
    unreadable: list[str] = []
    for skipped in range(db.execute(_COUNT_ENTRIES, {"this": image_id}).scalar_one()):
        one = _read_entries(db, _ENTRY, {"this": image_id, "skipped": skipped})
        if isinstance(one, str):
            unreadable.append(one)
        else:
            entries += one
    return ImageHistory(image, entries, unreadable)


def _read_entries(
    db: Connection, statement: Select[*tuple[Any, ...]], values: dict[str, Any]
) -> Sequence[HistoryEntry] | str:
    """The entries, or why one of them cannot be read."""
    try:
        return [rows.entry_of_row(row) for row in db.execute(statement, values)]
    except Exception as error:
        why = dialects.why_unreadable(error)
        if why is None:
            raise
        return why


def load_images(db: Connection, found: Sequence[Sequence[Any]]) -> Sequence[Image]:
    """Make images of rows that ``READ`` returned, whatever further columns they have."""
    if not found:
        return []
    named = [_Found._make(row[:WIDTH]) for row in found]
    these = [row.id for row in named]
    places = rows.locations_by_image(_LOCATIONS_OF_THESE.rows(db, {"these": these}))
    tasks = task_rows.writers(db, _importing(named))
    return [rows.image_of(row, places.get(row.id, {}), tasks.get(row.id)) for row in named]


def load_placed_images(db: Connection, found: Sequence[Sequence[Any]]) -> Sequence[Image]:
    """Make images of rows that ``with_places`` returned."""
    named = [_Found._make(row[:WIDTH]) for row in found]
    tasks = task_rows.writers(db, _importing(named))
    return [
        rows.image_of(row, locations_of(placed[-1]), tasks.get(row.id))
        for row, placed in zip(named, found, strict=True)
    ]


def write(db: Connection, before: Image, after: Image, by: Actor, at: datetime) -> None:
    """Write what differs between two states of one image, except its claim and its task; and the
    entry in its history. ``at``: when it changed.
    """
    old, new = rows.image_values(before), rows.image_values(after)
    changed = {name: value for name, value in new.items() if value != old[name]}
    if changed:
        _UPDATE.execute(db, {"this": after.id, **changed})
    write_parts(db, before, after)
    write_entry(db, before, after, by, at)


def write_parts(db: Connection, before: Image, after: Image) -> None:
    """Write what differs between the rows that belong to an image."""
    if after.tags != before.tags:
        _write_tags(db, before, after)
    if after.properties != before.properties:
        _write_properties(db, before, after)
    if (after.locations, after.staged) != (before.locations, before.staged):
        _write_locations(db, before, after)
    if after.members != before.members:
        image_members.write(db, before, after)


def write_entry(
    db: Connection, before: Image | None, after: Image, by: Actor, at: datetime
) -> None:
    """Write the entry of a change, if it has one, and drop those that are too many.

    Entries are numbered by versions, so an image of few versions has few entries.
    """
    entry = entry_of(before, after, by, at)
    if entry is None:
        return
    _ADD_ENTRY.execute(db, rows.entry_values(after.id, entry))
    if after.version >= HISTORY_LIMIT:
        db.execute(_DROP_OLD_ENTRIES, {"this": after.id})


def _write_tags(db: Connection, before: Image, after: Image) -> None:
    old, new = set(before.tags), set(after.tags)
    if removed := old - new:
        db.execute(_REMOVE_TAGS, {"this": after.id, "these": sorted(removed)})
    if added := new - old:
        row = {"image_id": after.id, "image_created_at": after.created_at}
        _ADD_TAGS.execute_all(db, [{**row, "tag": tag} for tag in sorted(added)])


def _write_properties(db: Connection, before: Image, after: Image) -> None:
    old, new = _property_texts(before), _property_texts(after)
    if removed := {name for name, _ in old - new}:
        db.execute(_REMOVE_PROPERTIES, {"this": after.id, "these": sorted(removed)})
    if added := new - old:
        row = {"image_id": after.id, "image_created_at": after.created_at}
        values = [{**row, "name": name, "value": text} for name, text in added]
        _ADD_PROPERTIES.execute_all(db, values)


def _property_texts(image: Image) -> AbstractSet[tuple[str, str]]:
    """What lists are filtered by."""
    texts = ((name, property_text(value)) for name, value in image.properties.items())
    return {(name, text) for name, text in texts if text is not None}


def _write_locations(db: Connection, before: Image, after: Image) -> None:
    """Update a row that stays: inserting it again would lock its blob out of order."""
    old, new = _positions(before), _positions(after)
    if removed := old.keys() - new.keys():
        db.execute(_REMOVE_LOCATIONS, {"this": after.id, "these": sorted(removed)})
    for key, position in new.items():
        if key not in old:
            _ADD_LOCATIONS.execute(db, {"image_id": after.id, "key": key, "position": position})
        elif position != old[key]:
            db.execute(_MOVE_LOCATION, {"this": after.id, "this_key": key, "position": position})


def _positions(image: Image) -> dict[str, int]:
    return {key: position for position, key in rows.location_keys_of(image).items()}


def _importing(found: Sequence[AnyRow]) -> list[str]:
    return [row.id for row in found if row.status == Status.IMPORTING]
