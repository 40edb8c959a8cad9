"""Virtual time, and a log that is not rendered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NoReturn

import pytest
import structlog
from structlog.typing import EventDict, WrappedLogger

from support.virtual_time import virtual_trio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, object]]:
    """Trio, with a clock that jumps when all tasks wait."""
    return virtual_trio()


@pytest.fixture
def crashes() -> Iterator[list[EventDict]]:
    """What the loops logged as a mistake of ours; everything else is dropped."""
    found: list[EventDict] = []

    def keep_crashes(_: WrappedLogger, __: str, event: EventDict) -> NoReturn:
        if event["event"] in {"duty.crashed", "task.crashed"}:
            found.append(event)
        raise structlog.DropEvent

    structlog.configure(processors=[keep_crashes])
    yield found
    structlog.reset_defaults()
