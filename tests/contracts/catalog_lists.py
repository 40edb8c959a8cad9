"""What every catalog lists, compared with ``core/query``, which defines lists."""

from __future__ import annotations

import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contracts.catalog_samples import ALL, UNCHECKED, UNSHRUNK, all_images, content, list_images
from imaged.catalogs import list_samples
from imaged.core import list_plan
from imaged.core.access import Caller
from imaged.core.image import Image, Visibility
from imaged.core.lifecycle import Status
from imaged.core.limits import MAX_PROPERTIES, MAX_TAGS, MIB
from imaged.core.member import Member, MemberStatus
from imaged.core.query import (
    LISTED_BASE_BYTES,
    SORTABLE,
    Column,
    Condition,
    ImageQuery,
    Operator,
    Order,
    column_value,
    listed_size,
    page_of_images,
)
from imaged.ports.catalog import Catalog

OWNERS = ("a", "b", "c")
NAMES = (None, "", "A", "a", "Z", "é", "\U0001f4bf", "ﬀ", "%", "_")
SIZES = (0, 1, 10, 2**40)
FORMATS = (None, "raw", "qcow2")
COMPLETE = frozenset({Status.ACTIVE, Status.DEACTIVATED, Status.PENDING_DELETE})

callers = st.none() | st.builds(
    Caller,
    st.just("u"),
    st.sampled_from(OWNERS),
    st.sampled_from([frozenset({"member"}), frozenset({"admin"})]),
)
tags = st.sampled_from(["x", "X", "y", "é"])
properties = st.dictionaries(
    st.sampled_from(["k", "K", "l"]), st.sampled_from(["", "1", "v" * 70, "v" * 71])
)


@st.composite
def images(draw: st.DrawFn) -> Image:
    """An image that a catalog may have, without bytes."""
    status = draw(st.sampled_from(Status))
    answers = draw(st.dictionaries(st.sampled_from(OWNERS), st.sampled_from(MemberStatus)))
    return Image(
        id=str(UUID(int=draw(st.integers(0, 2**128 - 1)))),
        owner=draw(st.sampled_from(OWNERS)),
        name=draw(st.sampled_from(NAMES)),
        disk_format=draw(st.sampled_from(FORMATS)),
        container_format=draw(st.sampled_from(FORMATS)),
        visibility=draw(st.sampled_from(Visibility)),
        protected=draw(st.booleans()),
        hidden=draw(st.booleans()),
        min_ram_mib=draw(st.sampled_from([0, 1, 512])),
        tags=tuple(draw(st.sets(tags))),
        properties=draw(properties),
        members={name: Member(name, answer) for name, answer in answers.items()},
        status=status,
        content=content(draw(st.sampled_from(SIZES))) if status in COMPLETE else None,
    )


@st.composite
def conditions(draw: st.DrawFn, there: list[Image]) -> Condition:
    """A comparison, mostly with a value that some image has."""
    column = draw(st.sampled_from(Column))
    values = [column_value(image, column) for image in there] or [None]
    if draw(st.booleans()):
        return Condition(column, Operator.ONE_OF, tuple(draw(st.lists(st.sampled_from(values)))))
    known = [value for value in values if value is not None]
    if not known:
        unlike = st.sampled_from([Operator.EQUAL, Operator.NOT_EQUAL])
        return Condition(column, draw(unlike), None)
    operators = st.sampled_from([way for way in Operator if way is not Operator.ONE_OF])
    return Condition(column, draw(operators), draw(st.sampled_from(known)))


@st.composite
def queries(draw: st.DrawFn, there: list[Image]) -> ImageQuery:
    """Any page of any list."""
    columns = draw(st.lists(st.sampled_from(SORTABLE), min_size=1, max_size=3, unique=True))
    after = draw(st.none() | st.sampled_from(there)) if there else None
    after_id = None if after is None or draw(st.booleans()) else after.id
    return ImageQuery(
        caller=draw(callers),
        conditions=tuple(draw(st.lists(conditions(there), max_size=2))),
        visibility=draw(st.none() | st.sampled_from(Visibility)),
        member_status=draw(st.none() | st.sampled_from(MemberStatus)),
        any_visibility=draw(st.booleans()),
        tags=tuple(draw(st.sets(tags, max_size=3))),
        properties=tuple(draw(properties).items()),
        order=tuple(Order(column, descending=draw(st.booleans())) for column in columns),
        after=after if after_id is None else None,
        after_id=after_id,
        limit=draw(st.integers(0, 5)),
    )


#: Opens an empty catalog for one example; leaving the block closes it.
Fresh = Callable[[], AbstractAsyncContextManager[Catalog]]


QUERIES = 12  # for each example


@asynccontextmanager
async def decided(few: bool | None, *, gathered: bool) -> AsyncIterator[None]:
    """Take all images that filters find for few, or for many; None: count them. ``gathered``: read
    many all the same, because the order begins with others.
    """
    with pytest.MonkeyPatch.context() as patch:
        if few is not None:
            patch.setattr(list_plan, "are_few", lambda *_: few)
        if gathered:
            patch.setattr(list_samples, "begins_well", lambda *_: False)
            patch.setattr(list_samples, "are_gathered", lambda *_: True)
        yield


class ListsContract:
    """Lists are the same in every catalog."""

    async def test_images_without_the_value_that_they_are_ordered_by(
        self, catalog: Catalog
    ) -> None:
        """A value that they have not is another one than 5."""
        there = await catalog.add_image(Image(id="i", owner="a", name="debian"))
        query = ImageQuery(
            conditions=(Condition(Column.SIZE, Operator.NOT_EQUAL, 5),),
            order=(Order(Column.NAME), Order(Column.SIZE)),
            limit=1,
        )
        assert await list_images(catalog, query) == [there]

    @pytest.mark.timeout(240)  # a database and a hundred statements for each example
    @settings(
        max_examples=20,
        deadline=None,
        suppress_health_check=UNCHECKED,
        phases=UNSHRUNK,
    )
    @given(data=st.data())
    async def test_any_list(self, fresh: Fresh, data: st.DataObject) -> None:
        """Whatever the images and the query, the answer equals that of ``page``: read in the order
        of the list, by what its filters find, or as it is decided.
        """
        few = data.draw(st.sampled_from([None, True, False]))
        gathered = data.draw(st.booleans())
        async with fresh() as catalog, decided(few, gathered=gathered):
            drawn = data.draw(st.lists(images(), max_size=12, unique_by=lambda i: i.id))
            there = [await catalog.add_image(image) for image in drawn]
            for _ in range(QUERIES):
                query = data.draw(queries(there))
                whole = page_of_images(there, query)
                assert await list_images(catalog, query) == whole
                max_bytes = data.draw(st.integers(0, 5 * LISTED_BASE_BYTES))
                part = await catalog.list_page(query, max_bytes)
                assert list(part.images) == whole[: len(part.images)]
                assert part.is_cut == (len(part.images) < len(whole))
                assert len(part.images) >= min(1, len(whole))
                assert len(part.images) <= 1 or sum(map(listed_size, part.images)) <= max_bytes

    @pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
    @pytest.mark.parametrize("column", SORTABLE)
    async def test_pages_meet(self, catalog: Catalog, column: Column, descending: bool) -> None:
        """Page by page, every image is listed once and in order, with ties and gaps."""
        for number in range(23):
            size = content(SIZES[number % 3]) if number % 4 else None
            image = Image(
                id=str(UUID(int=number * 7919 % 101)),
                owner="a",
                name=NAMES[number % 4],
                disk_format=FORMATS[number % 3],
                container_format=FORMATS[number % 2],
                status=Status.ACTIVE if size else Status.QUEUED,
                content=size,
            )
            await catalog.add_image(image)

        walked: list[Image] = []
        query = ImageQuery(order=(Order(column, descending=descending),), limit=4)
        while found := await list_images(catalog, query):
            walked += found
            query = replace(query, after=found[-1])

        assert walked == page_of_images(
            await all_images(catalog), replace(query, after=None, limit=ALL)
        )
        assert len(walked) == 23

    async def test_memory_is_bounded_while_a_page_is_read(self, catalog: Catalog) -> None:
        """A page that ends early does not read rows behind its end."""
        held = {f"k{number}": "x" * 65_000 for number in range(16)}
        for number in range(24):
            await catalog.add_image(Image(id=f"i{number:02}", owner="a", properties=held))
        query = ImageQuery(order=(Order(Column.ID),))
        before = await catalog.list_page(query, 2 * MIB)  # cached from now on
        tracemalloc.start()
        try:
            part = await catalog.list_page(query, 2 * MIB)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

        assert part == before
        assert ([image.id for image in part.images], part.is_cut) == (["i00", "i01"], True)
        assert peak_bytes < 12 * MIB  # and 24 and more without a limit

    async def test_as_many_filters_as_an_image_can_have(self, catalog: Catalog) -> None:
        """All of its tags and properties find it, and one more of either does not."""
        tags = tuple(f"t{number}" for number in range(MAX_TAGS))
        held = {f"k{number}": str(number) for number in range(MAX_PROPERTIES)}
        image = await catalog.add_image(Image(id="i", owner="a", tags=tags, properties=held))
        await catalog.add_image(Image(id="j", owner="a", tags=tags[1:], properties=held))
        wanted = ImageQuery(tags=tags, properties=tuple(held.items()))

        assert await list_images(catalog, wanted) == [image]
        for more in (
            replace(wanted, tags=(*tags, "another")),
            replace(wanted, properties=(*wanted.properties, ("another", "1"))),
            replace(wanted, properties=(*wanted.properties, ("k1", "2"))),
        ):
            assert await list_images(catalog, more) == []

    async def test_lists_follow_changes(self, catalog: Catalog) -> None:
        """An image is found by its current tags and properties only."""

        async def found(**wanted: tuple[object, ...]) -> bool:
            return bool(await list_images(catalog, ImageQuery(**wanted)))  # type: ignore[arg-type]

        old = {"same": "1", "other": "1", "gone": "1"}
        await catalog.add_image(Image(id="i", owner="a", tags=("same", "gone"), properties=old))
        new = {"same": "1", "other": "2", "new": "1"}
        await catalog.modify_image(
            "i", lambda image: replace(image, tags=("new", "same"), properties=new)
        )

        tags = {tag for tag in ("same", "gone", "new") if await found(tags=(tag,))}
        assert tags == {"same", "new"}
        properties = {pair for pair in (old | new).items() if await found(properties=(pair,))}
        assert properties == set(new.items())
        assert not await found(properties=(("other", "1"),))
        assert not await found(properties=(("gone", "1"),))

    async def test_a_page_after_an_image_that_is_gone(self, catalog: Catalog) -> None:
        """The marker may be gone or no longer match; its keys are enough."""
        for name in ("a", "b", "c"):
            await catalog.add_image(Image(id=name, owner="a", name=name))
        query = ImageQuery(order=(Order(Column.NAME),), after=Image(id="x", owner="b", name="a!"))

        assert [image.id for image in await list_images(catalog, query)] == ["b", "c"]

    @pytest.mark.parametrize("keys", [(Column.CREATED_AT,), (Column.SIZE, Column.NAME)])
    async def test_a_page_after_an_id(self, catalog: Catalog, keys: tuple[Column, ...]) -> None:
        """It begins behind that image, and is empty if the caller may not see it."""
        for name, owner in (("a", "a"), ("b", "b"), ("c", "a"), ("d", "a")):
            await catalog.add_image(Image(id=name, owner=owner))
        order = tuple(Order(key) for key in keys)
        query = ImageQuery(caller=Caller("u", "a", frozenset({"member"})), order=order)

        pages = {
            marker: [
                image.id for image in await list_images(catalog, replace(query, after_id=marker))
            ]
            for marker in ("a", "b", "c", "d", "x")
        }

        assert pages == {"a": ["c", "d"], "b": [], "c": ["d"], "d": [], "x": []}

    async def test_numbers_beyond_any_column(self, catalog: Catalog) -> None:
        """A query may have a number of any size."""
        image = await catalog.add_image(Image(id="i", owner="a"))
        smaller = Condition(Column.MIN_RAM, Operator.LESS, 10**30)
        larger = Condition(Column.MIN_RAM, Operator.GREATER, 10**30)
        among = Condition(Column.MIN_RAM, Operator.ONE_OF, (0, 10**30))

        assert await list_images(catalog, ImageQuery(conditions=(smaller, among))) == [image]
        assert await list_images(catalog, ImageQuery(conditions=(larger,))) == []
