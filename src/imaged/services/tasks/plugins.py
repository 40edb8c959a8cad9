"""Task types added by a deployer: entry points of the group ``imaged.tasks``.

Each names a function that receives ``TaskResources`` and returns a ``TaskType``; it is called once,
at the start of the process. See docs/how-to/add-a-task-type.md.
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
    """The resources of a type, besides the context of each attempt."""

    catalog: Catalog
    stores: Stores
    downloads: Downloads
    budget: TransferBudget
    fetcher: Fetcher  # restricted by [fetch]
    check_factory: StreamCheckFactory  # for received bytes: limits, and the deployer's checks
    conversion: ImageConverter  # between disk formats
    destinations: Mapping[str, Destination] = field(default_factory=dict)  # of exports


TaskTypeFactory = Callable[[TaskResources], TaskType[Any]]
