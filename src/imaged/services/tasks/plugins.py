"""Types of tasks that a deployer adds: entry points of the group ``imaged.tasks``.

Each names a function that is given ``TaskServices`` and returns a ``TaskType``; it is called once,
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
from imaged.services.budget import Budget
from imaged.services.downloads import Downloads
from imaged.services.tasks.conversion import Conversion
from imaged.services.tasks.examination import Examiner
from imaged.services.tasks.types import TaskType

GROUP = "imaged.tasks"


@dataclass(frozen=True, slots=True)
class TaskServices:
    """What a type may work with, besides the context of each attempt."""

    catalog: Catalog
    stores: Stores
    downloads: Downloads
    budget: Budget
    fetcher: Fetcher  # from elsewhere, as far as [fetch] allows
    examiner: Examiner  # of what comes in: limits, and the deployer's checks
    conversion: Conversion  # from one disk format into another
    destinations: Mapping[str, Destination] = field(default_factory=dict)  # of exports


MakeTaskType = Callable[[TaskServices], TaskType[Any]]
