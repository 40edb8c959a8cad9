"""How catalogs in a database keep the creation time of images where their lists need it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, insert, select, update

from contracts.catalog_samples import all_images, list_images
from imaged.catalogs import image_dates
from imaged.catalogs.image_dates import DATED_TABLES, fill_some
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.catalogs.tables import image_members, image_properties, image_tags, images
from imaged.core.image import Image
from imaged.core.member import Member, MemberStatus
from imaged.core.query import Column, Condition, ImageQuery, Operator, Order, page_of_images

DATED = (image_tags, image_properties, image_members)
ONE_OF_EACH = {
    "tags": ("t",),
    "properties": {"k": "v"},
    "members": {"m": Member("m", MemberStatus.ACCEPTED)},
}
A_DAY = timedelta(days=1)


def dates(db: Connection) -> set[tuple[str, object, object]]:
    """Of each row: its table, its creation time, and that of its image."""
    return {
        (table.name, *row)
        for table in DATED
        for row in db.execute(
            select(table.c.image_created_at, images.c.created_at).join_from(table, images)
        )
    }


class ImageDatesContract:
    """Rows of tags, properties and members have the creation time of their image."""

    async def test_rows_have_the_time_of_their_image(self, catalog: SqlCatalog) -> None:
        """Those of a new image, and those that are added later."""
        await catalog.add_image(Image(id="i", owner="a", **ONE_OF_EACH))  # type: ignore[arg-type]
        await catalog.add_image(Image(id="j", owner="a"))
        await catalog.modify_image("j", lambda image: replace(image, **ONE_OF_EACH))  # type: ignore[arg-type]

        found = await catalog.database.read(dates)
        assert len(found) == 6
        assert all(mine == its for _, mine, its in found)

    async def test_rows_of_other_versions_are_dated(self, catalog: SqlCatalog) -> None:
        """Versions before revision 0016 write no time."""
        await catalog.add_image(Image(id="i", owner="a"))

        def write(db: Connection) -> None:
            now = db.execute(select(images.c.created_at)).scalar_one()
            times = {"created_at": now, "updated_at": now}
            db.execute(insert(image_tags), {"image_id": "i", "tag": "t"})
            db.execute(insert(image_properties), {"image_id": "i", "name": "k", "value": "v"})
            member = {"image_id": "i", "member_id": "m", "status": "accepted", **times}
            db.execute(insert(image_members), member)

        await catalog.database.write(write)
        found = await catalog.database.read(dates)
        assert len(found) == 3
        assert all(mine == its for _, mine, its in found)

    async def test_an_image_that_is_dated_anew(self, catalog: SqlCatalog) -> None:
        """A draft is, when it is published."""
        image = await catalog.add_image(Image(id="i", owner="a", draft=True, **ONE_OF_EACH))  # type: ignore[arg-type]
        published = await catalog.modify_image("i", lambda image: replace(image, draft=False))

        found = await catalog.database.read(dates)
        assert published.created_at != image.created_at
        assert {mine for _, mine, _ in found} == {published.created_at}

    @pytest.mark.parametrize("key", [Column.CREATED_AT, Column.UPDATED_AT])
    @pytest.mark.parametrize("descending", [False, True], ids=["up", "down"])
    async def test_images_changed_before_their_creation(
        self, catalog: SqlCatalog, key: Column, descending: bool
    ) -> None:
        """After a clock was set back there may be such: no list loses them."""
        for name in "abcdef":
            await catalog.add_image(Image(id=name, owner="a", tags=("t",)))

        def redate(db: Connection) -> None:
            for name, days in (("b", 1), ("e", -2)):
                this = images.c.id == name
                created_at = db.execute(select(images.c.created_at).where(this)).scalar_one()
                db.execute(update(images).where(this).values(created_at=created_at + days * A_DAY))

        await catalog.database.write(redate)
        there = await all_images(catalog)
        for column, operator in (
            (Column.UPDATED_AT, Operator.LESS),
            (Column.CREATED_AT, Operator.GREATER),
        ):
            for image in there:
                bound = image.updated_at
                query = ImageQuery(
                    conditions=(Condition(column, operator, bound),),
                    order=(Order(key, descending=descending),),
                    after=there[3],
                )
                for one in (query, replace(query, after=None), replace(query, tags=("t",))):
                    assert await list_images(catalog, one) == page_of_images(there, one)

    async def test_rows_are_filled_in_parts(
        self, catalog: SqlCatalog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A few in each transaction; what was interrupted begins again."""
        monkeypatch.setattr(image_dates, "FILLED_AT_ONCE", 2)
        for name in "abcde":
            await catalog.add_image(Image(id=name, owner="a", **ONE_OF_EACH))  # type: ignore[arg-type]

        def forget(db: Connection) -> None:
            for table in DATED:
                db.execute(update(table).values(image_created_at=None))

        await catalog.database.write(forget)
        for table in DATED_TABLES:
            lasts: list[str | None] = [""]
            while lasts[-1] is not None:
                after = lasts[-1]
                lasts.append(
                    await catalog.database.write(lambda db: fill_some(db, table, after))  # noqa: B023 - called at once
                )
            assert lasts == ["", "b", "d", "e", None]
        found = await catalog.database.read(dates)
        assert all(mine == its for _, mine, its in found)
