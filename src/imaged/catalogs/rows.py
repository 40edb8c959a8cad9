"""Converts records of the core to rows of tables, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from types import UnionType
from typing import Any

from sqlalchemy import Row

from imaged.catalogs.tables import STAGED
from imaged.core.blob import Blob, BlobState
from imaged.core.claim import Claim, InstanceId
from imaged.core.history import Actor, HistoryEntry
from imaged.core.image import BrokenUpload, Content, Failure, Image, Location, Visibility
from imaged.core.lifecycle import Status
from imaged.core.member import Member, MemberStatus
from imaged.core.task import Task

#: In the column, whose constraint demands a value beside a size: the image has no checksum.
NO_CHECKSUM = ""

AnyRow = Row[*tuple[Any, ...]]
Values = dict[str, Any]

#: The columns that have the name and the value of an attribute of the image.
_SAME_IN_IMAGES = (
    *("id", "owner", "name", "disk_format", "container_format", "visibility", "protected"),
    *("hidden", "min_ram_mib", "min_disk_gib", "tags", "properties", "status", "since"),
    *("deleted_from", "draft", "created_at", "updated_at", "version", "finished_by", "damage"),
)
#: Looking one up takes a tenth of the time of ``Status("active")``; each row of a list has two.
_STATUSES: Mapping[str, Status] = {status.value: status for status in Status}
_VISIBILITIES: Mapping[str, Visibility] = {one.value: one for one in Visibility}
_SAME_IN_HISTORY = ("number", "at", "action", "details")
_ACTOR_COLUMNS = tuple(attribute.name for attribute in fields(Actor))
_MEMBER_COLUMNS = tuple(attribute.name for attribute in fields(Member))
_BLOB_COLUMNS = tuple(attribute.name for attribute in fields(Blob))


def values_of(record: object, names: Iterable[str]) -> Values:
    """The attributes of a record, or the columns of a row, with these names."""
    return {name: getattr(record, name) for name in names}


def image_values(image: Image) -> Values:
    """The columns of the image's row, by name."""
    content, failure, broken = image.content, image.last_failure, image.broken_upload
    return {
        **values_of(image, _SAME_IN_IMAGES),
        "size_bytes": content and content.size_bytes,
        "checksum": content and (content.checksum or NO_CHECKSUM),
        "hash_algorithm": content and content.hash_algorithm,
        "hash_value": content and content.hash_value,
        "virtual_size_bytes": content and content.virtual_size_bytes,
        "notice": content and content.notice,
        "staged_content": _staged_values(image),
        "failure_phase": failure and failure.phase,
        "failure_reason": failure and failure.reason,
        "failure_at": failure and failure.at,
        "broken_announced_bytes": broken and broken.announced_bytes,
        "broken_received_bytes": broken and broken.received_bytes,
        "broken_checksum": broken and broken.checksum,
        "broken_at": broken and broken.at,
        "broken_refused_bytes": broken and broken.refused_bytes,
    }


def image_of(
    row: AnyRow,
    places: Mapping[int, Location],
    task: Task | None,
    members: Mapping[str, Member] | None = None,
) -> Image:
    """The image of a row that also has its claim; its locations by position, its members by id."""
    staged = places.get(STAGED)
    return Image(
        id=row.id,
        owner=row.owner,
        name=row.name,
        disk_format=row.disk_format,
        container_format=row.container_format,
        visibility=_VISIBILITIES[row.visibility],
        protected=row.protected,
        hidden=row.hidden,
        min_ram_mib=row.min_ram_mib,
        min_disk_gib=row.min_disk_gib,
        tags=tuple(row.tags),
        properties=row.properties,
        members=members or {},
        status=_STATUSES[row.status],
        since=row.since,
        deleted_from=None if row.deleted_from is None else Status(row.deleted_from),
        draft=row.draft,
        created_at=row.created_at,
        updated_at=row.updated_at,
        version=row.version,
        content=None if row.size_bytes is None else _content_of(row),
        locations=tuple([places[at] for at in places if at != STAGED]) if places else (),
        staged=staged,
        staged_content=None if staged is None else _staged_content_of(row, staged),
        claim=None if row.token is None else claim_of(row),
        ahead_bytes=row.ahead_bytes,
        finished_by=row.finished_by,
        task=task,
        last_failure=None if row.failure_phase is None else _failure_of(row),
        broken_upload=None if row.broken_checksum is None else _broken_upload_of(row),
        damage=row.damage,
    )


def location_keys_of(image: Image) -> dict[int, str]:
    """The keys of the image's bytes, by position."""
    keys = {position: location.key for position, location in enumerate(image.locations)}
    return keys if image.staged is None else {STAGED: image.staged.key, **keys}


def claim_of(row: AnyRow) -> Claim:
    """The claim in a row."""
    return Claim(row.token, InstanceId(row.holder), row.lease)


def blob_values(blob: Blob) -> Values:
    """The columns of the blob's row, by name."""
    return values_of(blob, _BLOB_COLUMNS)


def blob_of(row: AnyRow) -> Blob:
    """The blob of a row."""
    key, store, size_bytes, state, *others = (getattr(row, name) for name in _BLOB_COLUMNS)
    return Blob(key, store, size_bytes, BlobState(state), *others)


def entry_values(image_id: str, entry: HistoryEntry) -> Values:
    """The columns of the row of an entry in the image's history, by name."""
    return {
        "image_id": image_id,
        **values_of(entry, _SAME_IN_HISTORY),
        **values_of(entry.actor, _ACTOR_COLUMNS),
    }


def entry_of_row(row: AnyRow) -> HistoryEntry:
    """The entry of a row. Raises TypeError if a disk or an editor changed the type of a value:
    SQLite has any type in any column, and both databases any JSON in details.
    """
    actor = Actor(**values_of(row, _ACTOR_COLUMNS))
    for name in ("action", *_ACTOR_COLUMNS):
        _require(name, getattr(row, name), str | None)
    _require("details", row.details, dict)
    return HistoryEntry(actor=actor, **values_of(row, _SAME_IN_HISTORY))


def _require(name: str, value: object, kind: type | UnionType) -> None:
    if not isinstance(value, kind):
        raise TypeError(f"{name} is of the type {type(value).__name__}")


def member_values(image_id: str, member: Member) -> Values:
    """The columns of the row of an image's member, by name."""
    return {"image_id": image_id, **values_of(member, _MEMBER_COLUMNS)}


def member_of(row: AnyRow) -> Member:
    """The member of a row."""
    return Member(row.member_id, MemberStatus(row.status), row.created_at, row.updated_at)


def locations_by_image(rows: Iterable[Sequence[Any]]) -> dict[str, dict[int, Location]]:
    """The locations of several images, by image and position, in the order of the rows.

    A row has the image's id, the position, and the blob's key, store and size in bytes.
    """
    found: dict[str, dict[int, Location]] = {}
    for image_id, position, key, store, size_bytes in rows:
        found.setdefault(image_id, {})[position] = Location(store, key, size_bytes)
    return found


def _content_of(row: AnyRow) -> Content:
    return Content(
        row.size_bytes,
        row.checksum or None,
        row.hash_algorithm,
        row.hash_value,
        row.virtual_size_bytes,
        row.notice,
    )


def _staged_values(image: Image) -> Values | None:
    """Includes the key, because earlier versions restage without updating the column."""
    staged, content = image.staged, image.staged_content
    if staged is None or content is None:
        return None
    return {
        "key": staged.key,
        "checksum": content.checksum,
        "hash_algorithm": content.hash_algorithm,
        "hash_value": content.hash_value,
    }


def _staged_content_of(row: AnyRow, staged: Location) -> Content | None:
    values = row.staged_content
    if values is None or values["key"] != staged.key:
        return None
    return Content(
        staged.size_bytes, values["checksum"], values["hash_algorithm"], values["hash_value"]
    )


def _failure_of(row: AnyRow) -> Failure:
    return Failure(row.failure_phase, row.failure_reason, row.failure_at)


def _broken_upload_of(row: AnyRow) -> BrokenUpload:
    return BrokenUpload(
        row.broken_announced_bytes,
        row.broken_received_bytes,
        row.broken_checksum,
        row.broken_at,
        row.broken_refused_bytes,
    )
