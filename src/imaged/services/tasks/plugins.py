"""Types of tasks that a deployer adds: entry points of the group ``imaged.tasks``.

Each names a function that is given ``TaskResources`` and returns a ``TaskType``; it is called once,
when the process begins. See docs/how-to/add-a-task-type.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from imaged.ports.catalog import Catalog
from imaged.ports.export import Destination
from imaged.ports.fetcher import Fetcher
from imaged.ports.store import Stores
from imaged.services.downloads import Downloads
from imaged.services.tasks.image_converter import ImageConverter
from imaged.services.tasks.stream_checks import StreamCheckFactory
from imaged.services.tasks.task_type import TaskType
from imaged.services.transfer_budget import TransferBudget

TASK_TYPE_GROUP = "imaged.tasks"


@dataclass(frozen=True, slots=True)
class TaskResources:
    """What a type may work with, besides the context of each attempt."""

    catalog: Catalog
    stores: Stores
    downloads: Downloads
    budget: TransferBudget
    fetcher: Fetcher  # from elsewhere, as far as [fetch] allows
    check_factory: StreamCheckFactory  # of what comes in: limits, and the deployer's checks
    conversion: ImageConverter  # from one disk format into another
    destinations: Mapping[str, Destination] = field(default_factory=dict)  # of exports


TaskTypeFactory = Callable[[TaskResources], TaskType[Any]]
