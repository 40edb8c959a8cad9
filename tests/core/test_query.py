"""Which images a list has, in which order, page by page."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from imaged.core.query import (
    NEWEST_FIRST,
    SORTABLE,
    Column,
    Condition,
    ImageQuery,
    Operator,
    Order,
    Value,
    column_value,
    listed_size,
    matches,
    page_of_images,
    page_within,
    total_order,
)
from support.callers import ADMIN, OWNER, STRANGER
from support.sample_images import NOW, active, content, in_status, queued

#: Whether a caller finds an image of p1 in a list, without and with a filter on visibility.
LISTED = {
    ("owner", "private"): (True, True),
    ("owner", "shared"): (True, True),
    ("owner", "community"): (True, True),
    ("owner", "public"): (True, True),
    ("stranger", "private"): (False, False),
    ("stranger", "shared"): (False, False),
    ("stranger", "community"): (False, True),
    ("stranger", "public"): (True, True),
    ("admin", "private"): (True, True),
    ("admin", "shared"): (True, True),
    ("admin", "community"): (False, True),
    ("admin", "public"): (True, True),
}
CALLERS = {"owner": OWNER, "stranger": STRANGER, "admin": ADMIN}


@pytest.mark.parametrize(("name", "visibility"), list(product(CALLERS, Visibility)))
def test_listed_images_of_each_caller(name: str, visibility: Visibility) -> None:
    """Community images of others are listed only with a filter for them, or for all."""
    image = replace(active(), visibility=visibility)
    caller = CALLERS[name]
    plainly, asked = LISTED[name, visibility]

    assert matches(image, ImageQuery(caller=caller)) is plainly
    assert matches(image, ImageQuery(caller=caller, visibility=visibility)) is asked
    assert matches(image, ImageQuery(caller=caller, any_visibility=True)) is asked
    for other in set(Visibility) - {visibility}:
        assert not matches(image, ImageQuery(caller=caller, visibility=other))


@pytest.mark.parametrize(("status", "name"), list(product(Status, CALLERS)))
def test_deleted_images_are_found_by_operators_only(status: Status, name: str) -> None:
    """Callers never find what was deleted; the operator finds everything."""
    image = replace(in_status(status), visibility=Visibility.PUBLIC)
    gone = status in {"pending_delete", "deleted"}

    assert matches(image, ImageQuery(caller=CALLERS[name])) is not gone
    assert matches(image, ImageQuery())


IMAGE = replace(
    active(),
    name="debian",
    min_disk_gib=10,
    tags=("a", "b"),
    properties={"os": "linux", "arch": "arm"},
    created_at=NOW,
)

CONDITIONS: list[tuple[Column, Operator, Value | tuple[Value, ...], bool]] = [
    (Column.NAME, Operator.EQUAL, "debian", True),
    (Column.NAME, Operator.EQUAL, "fedora", False),
    (Column.NAME, Operator.NOT_EQUAL, "fedora", True),
    (Column.NAME, Operator.NOT_EQUAL, "debian", False),
    (Column.NAME, Operator.ONE_OF, ("fedora", "debian"), True),
    (Column.NAME, Operator.ONE_OF, ("fedora",), False),
    (Column.NAME, Operator.ONE_OF, (), False),
    (Column.STATUS, Operator.EQUAL, "active", True),
    (Column.VISIBILITY, Operator.EQUAL, "shared", True),
    (Column.PROTECTED, Operator.EQUAL, False, True),
    (Column.MIN_DISK, Operator.GREATER, 10, False),
    (Column.MIN_DISK, Operator.GREATER, 9, True),
    (Column.MIN_DISK, Operator.GREATER_OR_EQUAL, 10, True),
    (Column.MIN_DISK, Operator.GREATER_OR_EQUAL, 11, False),
    (Column.MIN_DISK, Operator.LESS, 10, False),
    (Column.MIN_DISK, Operator.LESS, 11, True),
    (Column.MIN_DISK, Operator.LESS_OR_EQUAL, 10, True),
    (Column.MIN_DISK, Operator.LESS_OR_EQUAL, 9, False),
    (Column.CREATED_AT, Operator.LESS, NOW + timedelta(seconds=1), True),
    (Column.SIZE, Operator.EQUAL, 100, True),
    (Column.CHECKSUM, Operator.EQUAL, content().checksum, True),
    (Column.HASH_ALGORITHM, Operator.EQUAL, "sha512", True),
    (Column.HASH_VALUE, Operator.EQUAL, content().hash_value, True),
]


@pytest.mark.parametrize(("column", "operator", "value", "found"), CONDITIONS)
def test_conditions(
    column: Column, operator: Operator, value: Value | tuple[Value, ...], found: bool
) -> None:
    """Values are compared as their kind is; one that does not hold is enough."""
    query = ImageQuery(conditions=(Condition(column, operator, value),))

    assert matches(IMAGE, query) is found
    small = Condition(Column.MIN_DISK, Operator.LESS, 5)
    assert not matches(IMAGE, replace(query, conditions=(*query.conditions, small)))


@pytest.mark.parametrize("operator", [o for o in Operator if o is not Operator.ONE_OF])
def test_a_value_that_is_not_set_only_differs(operator: Operator) -> None:
    """An image without a size is neither larger, smaller nor equal; it is not equal."""
    query = ImageQuery(conditions=(Condition(Column.SIZE, operator, 100),))

    assert matches(queued(), query) is (operator is Operator.NOT_EQUAL)


@pytest.mark.parametrize(
    ("tags", "found"), [((), True), (("a",), True), (("b", "a"), True), (("a", "c"), False)]
)
def test_all_tags_are_there(tags: tuple[str, ...], found: bool) -> None:
    """An image may have more, but not less."""
    assert matches(IMAGE, ImageQuery(tags=tags)) is found


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ((), True),
        ((("os", "linux"),), True),
        ((("os", "linux"), ("arch", "arm")), True),
        ((("os", "linux"), ("arch", "x86")), False),
        ((("kernel", "6"),), False),
    ],
)
def test_all_properties_are_there(properties: tuple[tuple[str, str], ...], found: bool) -> None:
    """An image may have more, but none with another value."""
    assert matches(IMAGE, ImageQuery(properties=properties)) is found


@pytest.mark.parametrize("column", list(Column))
def test_every_column_has_a_value(column: Column) -> None:
    """A column is something that an image has, or has not yet."""
    assert column_value(replace(IMAGE, updated_at=NOW), column) is not None


@pytest.mark.parametrize(
    ("order", "full"),
    [
        (NEWEST_FIRST, (*NEWEST_FIRST, Order(Column.ID, descending=True))),
        (
            (Order(Column.NAME),),
            (Order(Column.NAME), Order(Column.CREATED_AT), Order(Column.ID)),
        ),
        (
            (Order(Column.CREATED_AT, descending=True), Order(Column.NAME)),
            (Order(Column.CREATED_AT, descending=True), Order(Column.NAME), Order(Column.ID)),
        ),
        ((Order(Column.ID), Order(Column.NAME)), (Order(Column.ID),)),
    ],
)
def test_an_order_is_made_total(order: tuple[Order, ...], full: tuple[Order, ...]) -> None:
    """By creation and id, in the direction of the last key; behind the id nothing is sorted."""
    assert total_order(order) == full


NAMED = [
    replace(queued(f"id-{number}"), name=name, min_disk_gib=number % 2, created_at=NOW)
    for number, name in enumerate(["b", None, "a", "b", None])
]


def _ids(images: list[Image]) -> list[str]:
    return [image.id[-1] for image in images]


@pytest.mark.parametrize(
    ("order", "ids"),
    [
        ([Order(Column.NAME)], "14203"),
        ([Order(Column.NAME, descending=True)], "30241"),
        ([Order(Column.NAME), Order(Column.ID, descending=True)], "41230"),
    ],
)
def test_unset_values_sort_first(order: list[Order], ids: str) -> None:
    """Images without a name, then by name, equals by id; descending is the other way round."""
    assert _ids(page_of_images(NAMED, ImageQuery(order=tuple(order)))) == list(ids)


def test_the_newest_comes_first_where_nothing_is_said() -> None:
    """As the API has it."""
    older = replace(NAMED[4], created_at=NOW - timedelta(days=1))

    assert _ids(page_of_images([older, *NAMED[:4]], ImageQuery())) == list("32104")


def test_a_page_ends_at_its_limit() -> None:
    """So many images, and not one more; none where none are asked for."""
    assert len(page_of_images(NAMED, ImageQuery(limit=2))) == 2
    assert page_of_images(NAMED, ImageQuery(limit=0)) == []


def test_a_page_goes_on_after_an_image_that_has_gone() -> None:
    """The marker is a place in the order; the image itself may be deleted."""
    query = ImageQuery(order=(Order(Column.ID),), after=NAMED[2])

    assert _ids(page_of_images([image for image in NAMED if image != NAMED[2]], query)) == list(
        "34"
    )


IMAGES = st.builds(
    lambda number, name, disk, age, size: replace(
        queued(f"id-{number:03}"),
        name=name,
        min_disk_gib=disk,
        created_at=NOW - timedelta(seconds=age),
        updated_at=NOW,
        content=None if size is None else content(size),
    ),
    st.integers(0, 999),
    st.none() | st.sampled_from("abc"),
    st.integers(0, 2),
    st.integers(0, 2),
    st.none() | st.integers(0, 2),
)
ORDERS = st.lists(
    st.builds(Order, st.sampled_from(SORTABLE), st.booleans()),
    min_size=1,
    max_size=3,
    unique_by=lambda order: order.column,
).map(tuple)


@given(st.lists(IMAGES, unique_by=lambda image: image.id, max_size=15), ORDERS, st.integers(1, 4))
def test_pages_joined_are_the_whole_list(
    images: list[Image], order: tuple[Order, ...], limit: int
) -> None:
    """Page by page, in any order: every image once, as if the list had one page."""
    whole = page_of_images(images, ImageQuery(order=order, limit=len(images)))
    joined: list[Image] = []
    while found := page_of_images(
        images, ImageQuery(order=order, limit=limit, after=joined[-1] if joined else None)
    ):
        joined += found

    assert joined == whole
    assert sorted(_ids(whole)) == sorted(_ids(images))


LARGE = [
    Image(id=name, owner="a", properties={"k": "\u00e9" * count}, tags=("\u00e9",))
    for name, count in (("a", 100), ("b", 200), ("c", 300))
]


@pytest.mark.parametrize(
    ("max_bytes", "names", "is_cut"),
    [
        (0, "a", True),
        (listed_size(LARGE[0]), "a", True),
        (listed_size(LARGE[0]) + listed_size(LARGE[1]) - 1, "a", True),
        (listed_size(LARGE[0]) + listed_size(LARGE[1]), "ab", True),
        (sum(map(listed_size, LARGE)) - 1, "ab", True),
        (sum(map(listed_size, LARGE)), "abc", False),
    ],
)
def test_a_page_ends_where_its_bytes_do(max_bytes: int, names: str, *, is_cut: bool) -> None:
    """It has one image at least, so that a list always goes on; bytes are those of UTF-8."""
    part = page_within(LARGE, max_bytes)
    assert ("".join(image.id for image in part.images), part.is_cut) == (names, is_cut)
    assert listed_size(LARGE[1]) - listed_size(LARGE[0]) == 200
    assert not page_within([], max_bytes).is_cut
