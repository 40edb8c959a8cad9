"""The contract that every catalog passes: one behaviour, whatever the storage.

A driver's test class inherits ``CatalogContract`` and provides two fixtures: ``catalog``, empty,
and ``fresh``, which opens another empty one for each example of a property. If a driver can be
inspected directly, its fixture ends with an audit: nothing stays open.
"""

from __future__ import annotations

import pytest

from contracts.catalog_checksums import ChecksumsContract
from contracts.catalog_clock import ClockContract
from contracts.catalog_growth import GrowingUploadsContract
from contracts.catalog_history import HistoryContract
from contracts.catalog_images import ImagesContract
from contracts.catalog_ledger import FindingContract, LedgerContract
from contracts.catalog_lists import ListsContract
from contracts.catalog_members import MembersContract
from contracts.catalog_outbox import OutboxContract
from contracts.catalog_places import PlacesContract
from contracts.catalog_queue import LeasesContract, QueueContract
from contracts.catalog_quotas import QuotaRacesContract, QuotasContract
from contracts.catalog_races import RacesContract
from contracts.catalog_status import StatusContract, UnfinishedContract
from contracts.catalog_tasks import (
    TaskListsContract,
    TaskQueueContract,
    TasksContract,
    WritingTasksContract,
)


class CatalogContract(
    ImagesContract,
    HistoryContract,
    LedgerContract,
    ChecksumsContract,
    FindingContract,
    QueueContract,
    LeasesContract,
    ListsContract,
    MembersContract,
    TasksContract,
    WritingTasksContract,
    TaskQueueContract,
    TaskListsContract,
    UnfinishedContract,
    OutboxContract,
    PlacesContract,
    StatusContract,
    RacesContract,
    QuotasContract,
    QuotaRacesContract,
    GrowingUploadsContract,
    ClockContract,
):
    """Everything that ``ports/catalog.py`` promises."""

    pytestmark = pytest.mark.asyncio
