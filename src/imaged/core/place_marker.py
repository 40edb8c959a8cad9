"""Identifies a place, and its catalog, by a marker file in the place and a row in the catalog.

A place is where bytes are kept: the folder, or the bucket and prefix, of a store or an export
destination, and the scratch folder. Its marker is written once, and names the place and the catalog
that it belongs to; the catalog knows the place by the same id. So two catalogs never use one place,
and a mount point whose filesystem is missing or exchanged is not mistaken for the place.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, StrEnum
from uuid import UUID

from imaged.core.errors import MarkerRefused, WrongPlace
from imaged.core.limits import KIB

MARKER_NAME = ".imaged-place.json"
MARKER_FORMAT = 1
MAX_MARKER_BYTES = 64 * KIB  # those that imaged writes have less than 1 KiB
MARKER_ABOUT = (
    "imaged keeps data here. This file says which place this is, and which catalog it belongs to; "
    "imaged writes and deletes nothing here without it. Move it with the data, and leave it as it "
    "is otherwise."
)


class PlaceKind(StrEnum):
    """The use of a place."""

    STORE = "store"
    EXPORTS = "exports"
    SCRATCH = "scratch"


@dataclass(frozen=True, slots=True)
class Marker:
    """The content of a place's marker."""

    place_id: UUID
    catalog_id: UUID
    kind: PlaceKind
    name: str  # from the configuration
    written_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """The catalog's record of a place. ``is_marked``: its marker has been written.

    ``warning``: a problem that an operator should check, as a sentence; None if there is none.
    """

    kind: PlaceKind
    name: str
    place_id: UUID
    where: str  # for people: a path, or a bucket and its endpoint
    is_marked: bool = False
    warning: str | None = None


@dataclass(frozen=True, slots=True)
class PlaceObservation:
    """The marker found in a place, beside the catalog's record of that name."""

    kind: PlaceKind
    name: str
    where: str
    marker: Marker | None
    known: Place | None
    catalog_id: UUID


@dataclass(frozen=True, slots=True)
class PlaceContents:
    """The blobs in a place without a marker, compared with the catalog's rows."""

    found: int = 0  # blobs that were checked
    recognised: int = 0  # of these, the ones with a row
    expected: int = 0  # blobs that active rows of the catalog have there


class PlaceState(Enum):
    """The relation of a place to the catalog, by its marker."""

    SAME = "it is the place that the catalog knows"
    FORGOTTEN = "it belongs to the catalog, which does not know it: an older copy was restored"
    UNMARKED = "it has no marker, and the catalog has seen none there"


class MarkerUnreadable(ValueError):
    """A file has the marker's name but its content is not a valid marker."""


class ExpectedMarker:
    """The marker that a place must have, and what is said if it has not: the base of every
    ``MarkedPlace``.

    ``label``: the name of the place in errors.
    """

    def __init__(self, kind: PlaceKind, name: str, where: str, label: str) -> None:
        self.kind = kind
        self.name = name
        self.where = where
        self._label = label
        self._expected: Marker | None = None

    def expect(self, marker: Marker) -> None:
        """From now on, refuse writes and deletes unless this marker is present."""
        self._expected = marker

    def require_same(self, found: Marker | None) -> None:
        """Raises WrongPlace if there is no marker, or not the expected one."""
        if found is None:
            raise self.lost()
        if self._expected is not None and not is_same_place(found, self._expected):
            why = _why_marker_changed(self.where, self._expected, found)
            raise WrongPlace(self._label, why)

    def lost(self) -> WrongPlace:
        """The error of a place without its marker."""
        why = _why_marker_lost(self.where, _adoption_hint(self.kind, self.name))
        return WrongPlace(self._label, why)

    def parse(self, data: bytes) -> Marker:
        """The marker in a file. Raises MarkerRefused."""
        try:
            return read_marker_text(data)
        except MarkerUnreadable as error:
            command = _adoption_hint(self.kind, self.name)
            why = _why_marker_unreadable(self.where, str(error), command)
            raise MarkerRefused(self._label, why) from error


def write_marker_text(marker: Marker) -> bytes:
    """The marker as a file: readable JSON."""
    fields = {
        "about": MARKER_ABOUT,
        "format": MARKER_FORMAT,
        "kind": marker.kind.value,
        "name": marker.name,
        "place_id": str(marker.place_id),
        "catalog_id": str(marker.catalog_id),
        "written_at": marker.written_at.isoformat(),
    }
    return json.dumps(fields, indent=2).encode() + b"\n"


def read_marker_text(data: bytes) -> Marker:
    """Parse the file of a marker. Raises MarkerUnreadable."""
    try:
        fields = json.loads(data)
        written_format = fields["format"]
        if written_format == MARKER_FORMAT:
            return Marker(
                UUID(fields["place_id"]),
                UUID(fields["catalog_id"]),
                PlaceKind(fields["kind"]),
                str(fields["name"]),
                datetime.fromisoformat(fields["written_at"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MarkerUnreadable("it is damaged, or no marker of imaged") from error
    raise MarkerUnreadable(f"it has the format {written_format!r}, of another version of imaged")


def is_same_place(one: Marker, other: Marker) -> bool:
    """Whether both identify the same place of the same catalog."""
    return (one.place_id, one.catalog_id) == (other.place_id, other.catalog_id)


def place_state(observed: PlaceObservation) -> PlaceState:
    """The state of a place that is not refused: call ``why_place_refused`` first."""
    if observed.marker is None:
        return PlaceState.UNMARKED
    return PlaceState.FORGOTTEN if observed.known is None else PlaceState.SAME


def why_place_refused(observed: PlaceObservation) -> str | None:
    """Why a place must not be used, as the end of a sentence that begins with its name; None if it
    may.
    """
    marker, known, where = observed.marker, observed.known, observed.where
    command = _adoption_hint(observed.kind, observed.name)
    if marker is None:
        return _why_marker_lost(where, command) if known is not None and known.is_marked else None
    if marker.catalog_id != observed.catalog_id:
        return (
            f"belongs to another catalog: the marker in {where} names the catalog "
            f"{marker.catalog_id}, and catalog.url leads to {observed.catalog_id}. Two catalogs "
            "with one place delete each other's data. Correct catalog.url, or give each catalog a "
            f"place of its own; if the other catalog is gone for good, {command}"
        )
    if (marker.kind, marker.name) != (observed.kind, observed.name):
        return (
            f"has another place than its own: the marker in {where} is that of the {marker.kind} "
            f"{marker.name!r}. Correct the configuration; if it was renamed on purpose, {command}"
        )
    if known is not None and known.place_id != marker.place_id:
        return (
            f"has another place than before: the marker in {where} names the place "
            f"{marker.place_id}, and the catalog knows {known.place_id}. Mount the right "
            f"filesystem, or name the right bucket; if all data was moved here, {command}"
        )
    return None


def why_not_adopted(kind: PlaceKind, name: str, where: str, contents: PlaceContents) -> str | None:
    """Why a place without a marker is not adopted, as the end of a sentence; None if it is.

    Versions before 0.2 wrote no markers: a store whose blobs the catalog knows is adopted.
    """
    command = _adoption_hint(kind, name)
    if not contents.found and contents.expected:
        return (
            f"is empty, and the catalog has {_blobs(contents.expected)} there: {where} has no "
            f"marker. Mount its filesystem; if its data is lost for good, {command}"
        )
    if contents.recognised * 2 < contents.found:
        return (
            f"has blobs that the catalog does not know: {contents.found - contents.recognised} of "
            f"the {contents.found} that were looked at in {where}, which has no marker. Correct "
            "catalog.url, or restore the catalog that they belong to; if they may be deleted in "
            f"time, {command}"
        )
    return None


def warnings_of(places: Iterable[Place]) -> list[str]:
    """The warnings of all places, each with the name of its place."""
    return [f"{place.kind} {place.name}: {place.warning}" for place in places if place.warning]


def _why_marker_lost(where: str, command: str) -> str:
    """Why a place without its marker must not be used, as the end of a sentence."""
    return (
        f"has lost its marker: {MARKER_NAME} is not in {where}, so it may be another place than "
        "before, and nothing is written or deleted there. Mount its filesystem; if all data was "
        f"moved or restored here without the marker, {command}"
    )


def _why_marker_changed(where: str, expected: Marker, found: Marker) -> str:
    """Why a place must not be used whose marker changed while imaged was running."""
    return (
        f"has another place than when imaged started: the marker in {where} names the place "
        f"{found.place_id} of the catalog {found.catalog_id}, and {expected.place_id} of "
        f"{expected.catalog_id} is expected; nothing is written or deleted there. Mount the right "
        "filesystem; if it was taken over meanwhile, restart imaged"
    )


def _why_marker_unreadable(where: str, why: str, command: str) -> str:
    """Why a place with an invalid marker must not be used."""
    return f"cannot read its marker, {MARKER_NAME} in {where}: {why}. Restore it; or {command}"


def _adoption_hint(kind: PlaceKind, name: str) -> str:
    """The command that takes a place over, as the end of a sentence."""
    option = "" if kind is PlaceKind.STORE else f" --kind {kind}"
    return f"take it over with `imaged adopt-store {name}{option}`"


def _blobs(count: int) -> str:
    return "1 blob" if count == 1 else f"{count} blobs"
