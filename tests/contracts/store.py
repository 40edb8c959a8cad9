"""The contract that every store passes: one behaviour, whatever the storage.

A driver's test class inherits ``StoreContract`` and provides two fixtures: ``store``, empty,
checked and named "local", and ``door``, a back door to it. Abilities that only some stores have are
contracts of their own. Each ``store`` fixture ends with an audit: nothing stays open.
"""

from __future__ import annotations

import pytest

from contracts.store_deleting import DeletingContract
from contracts.store_listing import ListingContract
from contracts.store_reading import ReadingContract
from contracts.store_refusing import RefusingContract
from contracts.store_writing import WritingContract


class StoreContract(
    WritingContract, ReadingContract, DeletingContract, ListingContract, RefusingContract
):
    """Everything that ``ports/store.py`` promises."""

    pytestmark = pytest.mark.asyncio
