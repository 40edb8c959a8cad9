"""A daemon that dies at a call: ``python -m support.kill_harness.daemon CONFIG PLAN TOLD``.

It is ``imaged serve`` with its own drivers. All that a task awaits of any port is counted: each
call when it begins and when it has ended, each block and each read. PLAN is JSON, a moment by the
ids of some tasks: there the task stops for ever, while the rest of the process goes on until it is
killed from outside. The file TOLD gets the id of each as it stops, and how many moments each task
had if the process ends in good order.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import anyio
from structlog.contextvars import get_contextvars

from imaged.catalogs.sql_catalog import SqlCatalog
from imaged.cli.serve import run_daemon
from imaged.daemon import daemon
from imaged.daemon.drivers import Drivers, open_drivers
from imaged.ports.catalog import Catalog, PlaceCatalog

COUNTED = "counted "


@dataclass(frozen=True, slots=True)
class KillPoint:
    """The moment of a task with this number, from 1 on; 0: none."""

    number: int
    is_cancelled: bool = False  # the task is, when it has come there


def write_kill_plan(file: Path, plan: Mapping[str, KillPoint]) -> None:
    """For the process to read: moments by the ids of tasks."""
    file.write_text(json.dumps({task_id: asdict(point) for task_id, point in plan.items()}))


def read_counts(told: Path) -> dict[str, int]:
    """How many moments each task had."""
    (line,) = [line for line in told.read_text().splitlines() if line.startswith(COUNTED)]
    counts: dict[str, int] = json.loads(line.removeprefix(COUNTED))
    return counts


class CallCounter:
    """Counts the moments of each task, and lets it stop at one."""

    def __init__(self, plan: Mapping[str, KillPoint], told: Path) -> None:
        self._plan = plan
        self._told = told
        self.seen: Counter[str] = Counter()

    def watch(self, driver: object) -> None:
        """Count all calls of a driver, except those that tell whether a place is the right one:
        the first task makes them for all, which wait for it. Of the catalog only those of its
        port, which call others.
        """
        names = dir(Catalog) if isinstance(driver, SqlCatalog) else dir(driver)
        for name in {*names} - {*vars(PlaceCatalog)}:
            if not name.startswith("_") and callable(call := getattr(driver, name)):
                setattr(driver, name, self.counted(call))

    def counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """A call whose moments are counted."""

        def counting(*arguments: Any, **named: Any) -> Any:
            given = [
                self._items(one) if isinstance(one, AsyncIterable) else one for one in arguments
            ]
            answer = call(*given, **named)
            if isinstance(answer, Awaitable):
                return self._awaited(answer)
            if isinstance(answer, AbstractAsyncContextManager):
                return self._entered(answer)
            return self._watched(answer)

        return counting

    def _watched(self, value: Any) -> Any:
        return self._items(value) if isinstance(value, AsyncIterable) else value

    async def _awaited(self, answer: Awaitable[Any]) -> Any:
        await self._count()
        result = await answer
        await self._count()
        return result

    @asynccontextmanager
    async def _entered(self, opening: AbstractAsyncContextManager[Any]) -> AsyncIterator[Any]:
        async with opening as opened:
            await self._count()
            yield _Watched(opened, self)

    async def _items(self, items: AsyncIterable[Any]) -> AsyncIterator[Any]:
        async for item in items:
            yield item
            del item
            await self._count()

    async def _count(self) -> None:
        bound = get_contextvars()  # the runner binds both for the log, and duties the id alone
        task_id = str(bound["task_id"]) if "task_type" in bound else ""
        self.seen[task_id] += 1
        if task_id in self._plan and self.seen[task_id] == self._plan[task_id].number:
            with self._told.open("a") as file:
                file.write(f"{task_id}\n")
            with anyio.CancelScope(shield=True):
                await anyio.sleep_forever()


class _Watched:
    """What a call has opened."""

    def __init__(self, opened: Any, counter: CallCounter) -> None:
        self._opened = opened
        self._counter = counter

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._opened, name)
        return self._counter.counted(found) if callable(found) else found


def main(config: str, plan: str, told: str) -> None:
    """Serve until the end comes."""
    points = {
        name: KillPoint(**fields) for name, fields in json.loads(Path(plan).read_text()).items()
    }
    counter = CallCounter(points, Path(told))

    @asynccontextmanager
    async def open_watched(*arguments: Any, **named: Any) -> AsyncIterator[Drivers]:
        async with open_drivers(*arguments, **named) as parts:
            stores = parts.stores.by_name.values()
            for driver in (parts.catalog, *stores, *parts.destinations.values()):
                counter.watch(driver)
            yield parts

    vars(daemon)["open_drivers"] = open_watched
    try:
        run_daemon(Path(config))
    finally:
        with Path(told).open("a") as file:
            file.write(f"{COUNTED}{json.dumps(counter.seen)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
