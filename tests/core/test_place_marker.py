"""Markers: what a place says of itself, and what that means beside what the catalog knows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.place_marker import (
    Marker,
    MarkerUnreadable,
    Place,
    PlaceContents,
    PlaceKind,
    PlaceObservation,
    PlaceState,
    place_state,
    read_marker_text,
    why_not_adopted,
    why_place_refused,
    write_marker_text,
)

OURS, OTHERS = uuid4(), uuid4()
MARKER = Marker(uuid4(), OURS, PlaceKind.STORE, "local", datetime(2026, 1, 1, tzinfo=UTC))
KNOWN = Place(PlaceKind.STORE, "local", MARKER.place_id, "/srv/images", is_marked=True)


def observed(marker: Marker | None, known: Place | None) -> PlaceObservation:
    """The store "local", seen by the catalog OURS."""
    return PlaceObservation(PlaceKind.STORE, "local", "/srv/images", marker, known, OURS)


@pytest.mark.parametrize(
    ("marker", "known", "verdict"),
    [
        (MARKER, KNOWN, PlaceState.SAME),
        (
            MARKER,
            replace(KNOWN, is_marked=False),
            PlaceState.SAME,
        ),  # a start died before it noted it
        (MARKER, None, PlaceState.FORGOTTEN),  # an older copy of the catalog was restored
        (None, None, PlaceState.UNMARKED),
        (None, replace(KNOWN, is_marked=False), PlaceState.UNMARKED),
    ],
)
def test_places_that_may_be_used(
    marker: Marker | None, known: Place | None, verdict: PlaceState
) -> None:
    """The place that the catalog knows, or one without another owner."""
    assert why_place_refused(observed(marker, known)) is None
    assert place_state(observed(marker, known)) is verdict


@pytest.mark.parametrize(
    ("marker", "known", "why"),
    [
        (None, KNOWN, "lost its marker"),  # not mounted
        (replace(MARKER, catalog_id=OTHERS), None, "belongs to another catalog"),
        (replace(MARKER, catalog_id=OTHERS), KNOWN, "belongs to another catalog"),
        (replace(MARKER, place_id=uuid4()), KNOWN, "another place than before"),  # another disk
        (replace(MARKER, name="far"), None, "that of the store 'far'"),  # paths exchanged
        (replace(MARKER, kind=PlaceKind.SCRATCH), KNOWN, "that of the scratch 'local'"),
    ],
)
def test_places_that_are_refused(marker: Marker | None, known: Place | None, why: str) -> None:
    """The sentence says what is there, and ends with what takes it over on purpose."""
    said = why_place_refused(observed(marker, known))

    assert said is not None
    assert why in said
    assert "/srv/images" in said
    assert said.endswith("take it over with `imaged adopt-store local`")


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (PlaceContents(), None),  # new
        (PlaceContents(found=10, recognised=10, expected=10), None),  # from before markers
        (PlaceContents(found=10, recognised=5, expected=7), None),
        (PlaceContents(found=0, expected=3), "is empty"),  # not mounted, from before markers
        (PlaceContents(found=1), "1 of the 1"),  # a new catalog
        (PlaceContents(found=10, recognised=4, expected=4), "6 of the 10"),  # a much older one
    ],
)
def test_a_place_without_a_marker_is_taken_where_the_catalog_knows_it(
    contents: PlaceContents, why: str | None
) -> None:
    """Empty where nothing is expected, or with blobs of which at least half have rows."""
    said = why_not_adopted(PlaceKind.STORE, "local", "/srv/images", contents)

    assert (said is None) is (why is None)
    assert why is None or (why in str(said) and "imaged adopt-store local" in str(said))


@given(
    st.builds(
        Marker,
        st.uuids(),
        st.uuids(),
        st.sampled_from(PlaceKind),
        st.text(),
        st.datetimes(timezones=st.just(UTC)),
    )
)
def test_a_marker_is_read_as_it_was_written(marker: Marker) -> None:
    """Every field of it."""
    assert read_marker_text(write_marker_text(marker)) == marker


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"7",
        b"{}",
        b"\xff",
        write_marker_text(MARKER)[:-20],
        write_marker_text(MARKER).replace(str(OURS).encode(), b"ours"),
        write_marker_text(MARKER).replace(b'"store"', b'"cellar"'),
    ],
)
def test_a_foreign_file_is_no_marker(data: bytes) -> None:
    """It is never taken for a place without a marker."""
    with pytest.raises(MarkerUnreadable, match="damaged, or no marker"):
        read_marker_text(data)


def test_a_marker_of_a_newer_format_is_left_alone() -> None:
    """A newer version wrote it."""
    data = write_marker_text(MARKER).replace(b'"format": 1', b'"format": 2')

    with pytest.raises(MarkerUnreadable, match="format 2, of another version"):
        read_marker_text(data)
