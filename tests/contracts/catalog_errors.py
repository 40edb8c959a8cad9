"""What a catalog's errors may say: nothing that clients wrote, and no statements."""

from __future__ import annotations

import traceback

import pytest

from imaged.core.errors import CatalogError
from imaged.core.query import Column, Condition, ImageQuery, Operator
from imaged.ports.catalog import Catalog

SECRET = "https://images.test/disk?signature=canary"


class ErrorsContract:
    """Inherited by catalogs in databases: memory can keep any text."""

    async def test_an_error_holds_no_values(self, catalog: Catalog) -> None:
        """Errors come into logs: a text that a database cannot keep is not repeated in them."""
        half = Condition(Column.NAME, Operator.EQUAL, f"{SECRET}\ud800")
        with pytest.raises(CatalogError) as raised:
            await catalog.list_images(ImageQuery(conditions=(half,)))

        assert "SELECT" not in str(raised.value)
        assert SECRET not in "".join(traceback.format_exception(raised.value))
