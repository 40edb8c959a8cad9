"""Errors of a catalog contain no client text and no statement."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from contracts.catalog_samples import all_images, list_images, queued
from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.core.claim import InstanceId
from imaged.core.errors import CatalogError, ImageNotFound
from imaged.core.image import Image
from imaged.core.query import Column, Condition, ImageQuery, Operator
from imaged.core.summary import Instance
from imaged.ports.catalog import Catalog
from support.quotas import limit_total, limits
from support.sample_images import task

SECRET = "https://images.test/disk?signature=canary"

#: Texts that JSON and Python have, and some databases cannot store: a NUL, half a surrogate pair.
ODD_TEXTS = [f"{SECRET}{odd}" for odd in ("\x00", "\ud800", "\udfff", "\udc80end")]

#: Fields of images with texts.
IMAGES_WITH_TEXT: Mapping[str, Callable[[str], Image]] = {
    "id": queued,
    "name": lambda text: replace(queued("i"), name=text),
    "owner": lambda text: queued("i", text),
    "tag": lambda text: replace(queued("i"), tags=(text,)),
    "property": lambda text: replace(queued("i"), properties={"k": text}),
    "name of a property": lambda text: replace(queued("i"), properties={text: "v"}),
}

#: All other calls with a text.
CATALOG_CALLS: Mapping[str, Callable[[Catalog, str], Awaitable[object]]] = {
    "show": lambda catalog, text: catalog.get_image(text),
    "list": lambda catalog, text: list_images(
        catalog, ImageQuery(conditions=(Condition(Column.NAME, Operator.EQUAL, text),))
    ),
    "task": lambda catalog, text: catalog.add_task(task("t", owner=text)),
    "input of a task": lambda catalog, text: catalog.add_task(task("t", input={"uri": text})),
    "quota": lambda catalog, text: catalog.set_limits(text, limits(images=1)),
    "blob": lambda catalog, text: catalog.get_blob(text),
    "put off": lambda catalog, text: catalog.reschedule("no such blob", text),
    "beat": lambda catalog, text: catalog.register_instance(
        Instance(InstanceId("one"), "1.0", ("api",), troubles=(text,)), timedelta(minutes=1)
    ),
}


def require_discreet(error: BaseException) -> None:
    """It contains no text of a client, nor do its causes, and no SQL."""
    told = "".join(traceback.format_exception(error))

    assert SECRET not in told
    assert "[parameters:" not in told
    for statement in ("SELECT", "INSERT", "UPDATE", "$1"):
        assert statement not in str(error)


def require_refused(error: CatalogError) -> None:
    """It says that the value is at fault, and shows nothing of it."""
    require_discreet(error)

    assert "cannot store such a value" in str(error)


def texts_of(image: Image) -> tuple[object, ...]:
    """The fields and calls of a test."""
    return image.id, image.name, image.owner, image.tags, dict(image.properties)


class ErrorsContract:
    """Inherited by catalogs in databases: memory can store any text."""

    @pytest.mark.parametrize("field", IMAGES_WITH_TEXT)
    async def test_odd_texts_are_kept_as_they_are_or_refused(
        self, catalog: Catalog, field: str
    ) -> None:
        """They are not cut at a NUL, and nothing is replaced; a refused text changes nothing."""
        for number, text in enumerate(ODD_TEXTS):
            image = IMAGES_WITH_TEXT[field](text)
            if field != "id":
                image = replace(image, id=f"i{number}")
            before = await all_images(catalog)
            try:
                kept = await catalog.add_image(image)
            except CatalogError as error:
                require_refused(error)
                assert await all_images(catalog) == before
            else:
                assert texts_of(kept) == texts_of(image)
                assert texts_of(await catalog.get_image(image.id)) == texts_of(image)

    @pytest.mark.parametrize("call", CATALOG_CALLS)
    async def test_odd_texts_let_no_foreign_error_out(self, catalog: Catalog, call: str) -> None:
        """In every call: a result, or one of imaged's errors that shows nothing of them."""
        for text in ODD_TEXTS:
            try:
                await CATALOG_CALLS[call](catalog, text)
            except CatalogError as error:
                require_refused(error)
            except ImageNotFound:
                continue
        assert await all_images(catalog) == []

    @pytest.mark.parametrize(("limit", "why"), [(2**70, "cannot store"), (-1, "constraints")])
    async def test_numbers_that_it_cannot_keep(
        self, catalog: Catalog, limit: int, why: str
    ) -> None:
        """No foreign error is raised."""
        with pytest.raises(CatalogError, match=why):
            await limit_total(catalog, "a", limit)

    async def test_a_closed_catalog_says_so(self, catalog: SqlCatalog) -> None:
        """A late caller gets an error, and does not wait; to close it again is no error."""
        for _ in range(2):
            with anyio.fail_after(20):
                await catalog.close()

        with pytest.raises(CatalogError, match="is closed"):
            await catalog.check()
