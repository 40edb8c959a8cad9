"""A daemon that dies where it is told to: ``python -m support.kill_harness.daemon CONFIG PLAN
TOLD``.

It is ``imaged serve`` with its own drivers; only their calls are watched. PLAN is JSON, a moment
for each of some tasks. Each task stops at its moment for good, while the rest of the process goes
on; when all have stopped, the process is killed. The file TOLD gets the id of each as it stops.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import anyio
from structlog.contextvars import get_contextvars

from imaged.cli.serve import run_daemon
from imaged.core.limits import MIB
from imaged.daemon import daemon
from imaged.daemon.drivers import Drivers, open_drivers

HALF_BYTES = 6 * MIB  # of the bodies that the probe has
POLL_SECONDS = 0.0005
CHILD_STEP_SECONDS = 0.002
CONVERTING_PHASE = "phase converting"
CHILD_STARTED, CHILD_EXECUTES = "the child begins", "the child runs"

CATALOG_CALLS = ("modify_image", "modify_task", "get_image", "record_upload_id")
STORE_CALLS = ("copy_from",)
DESTINATION_CALLS = ("has_delivered", "remove")


@dataclass(frozen=True, slots=True)
class KillPoint:
    """A call of a driver, ``phase …``, or one of the two of the converter's child.

    ``side``: before the call, after it, or in the middle or at the end of the bytes it is given.
    ``is_cancelled``: the task stops when it was cancelled there, and tells before that.
    """

    call: str
    side: Literal["before", "half", "end", "after"] = "before"
    number: int = 1  # of such calls for the task
    is_cancelled: bool = False


def write_kill_plan(file: Path, plan: Mapping[str, KillPoint]) -> None:
    """For the process to read: moments by the ids of tasks."""
    file.write_text(json.dumps({task_id: asdict(moment) for task_id, moment in plan.items()}))


class CallKiller:
    """Watches, and kills."""

    def __init__(self, plan: Mapping[str, KillPoint], told: Path) -> None:
        self._waiting = dict(plan)
        self._told = told
        self._counts: Counter[tuple[str, str]] = Counter()
        self._held: set[int] = set()  # children that have only begun
        self._lock = threading.Lock()

    def watch(self, parts: Drivers) -> None:
        """Watch all drivers."""
        self._watch(parts.catalog, CATALOG_CALLS)
        self._replace(parts.catalog, "update_task_progress", self._phases)
        for store in parts.stores.by_name.values():
            self._watch(store, STORE_CALLS)
            self._replace(store, "put", self._filled)
            self._replace(store, "open", self._opened)
        for destination in parts.destinations.values():
            self._watch(destination, DESTINATION_CALLS)
            self._replace(destination, "deliver", self._filled)

    def _watch(self, driver: object, names: tuple[str, ...]) -> None:
        for name in names:
            if hasattr(driver, name):
                self._replace(driver, name, self._counted)

    def _replace(
        self, driver: object, name: str, make: Callable[[str, Callable[..., Any]], Any]
    ) -> None:
        setattr(driver, name, make(name, getattr(driver, name)))

    def _counted(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        async def counted(*arguments: Any, **named: Any) -> Any:
            number = self._count(name)
            await self._meet(KillPoint(name, "before", number))
            answer = await call(*arguments, **named)
            await self._meet(KillPoint(name, "after", number))
            return answer

        return counted

    def _filled(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Also while its second argument, the blocks, pass."""

        async def filled(first: Any, blocks: Any, *arguments: Any) -> Any:
            await self._meet(KillPoint(name, "before"))
            answer = await call(first, self._passing(name, blocks), *arguments)
            await self._meet(KillPoint(name, "after"))
            return answer

        return filled

    async def _passing(self, name: str, blocks: Any) -> AsyncIterator[Any]:
        passed_bytes = 0
        async for block in blocks:
            passed_bytes += block.size_bytes
            yield block
            del block
            if passed_bytes >= HALF_BYTES:
                await self._meet(KillPoint(name, "half"))
        await self._meet(KillPoint(name, "end"))

    def _opened(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        del name

        @asynccontextmanager
        async def opened(*arguments: Any) -> AsyncIterator[_WatchedReader]:
            async with call(*arguments) as reader:
                yield _WatchedReader(reader, self._meet)

        return opened

    def _phases(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        del name

        async def advance(task_id: str, attempt: int, progress: Any) -> None:
            phase = f"phase {progress.phase}"
            if phase == CONVERTING_PHASE:
                self._look_for_child(task_id)  # it begins while this is being written
            await call(task_id, attempt, progress)
            await self._meet(KillPoint(phase))

        return advance

    def _count(self, name: str) -> int:
        key = (_task_id(), name)
        self._counts[key] += 1
        return self._counts[key]

    async def _meet(self, seen: KillPoint) -> None:
        """Stop here, if this is the moment of the task that is worked on."""
        task_id = _task_id()
        for is_cancelled in (False, True):
            wanted = KillPoint(seen.call, seen.side, seen.number, is_cancelled)
            if self._waiting.get(task_id) == wanted:
                await self._stop(task_id, is_cancelled)

    async def _stop(self, task_id: str, is_cancelled: bool) -> None:
        if is_cancelled:
            self._tell(task_id)
            with suppress(anyio.get_cancelled_exc_class()):
                await anyio.sleep_forever()
        self._arrive(task_id)
        with anyio.CancelScope(shield=True):
            await anyio.sleep_forever()

    def _look_for_child(self, task_id: str) -> None:
        wanted, attempt = self._waiting.get(task_id), str(get_contextvars().get("claim_id"))
        if wanted is not None and wanted.call in {CHILD_STARTED, CHILD_EXECUTES}:
            arguments = (task_id, attempt, wanted.call == CHILD_EXECUTES)
            threading.Thread(target=self._hold_child, args=arguments, daemon=True).start()

    def _hold_child(self, task_id: str, attempt: str, runs: bool) -> None:
        """Stop the converter's child of an attempt: when it is there, or when it is qemu-img."""
        while True:
            for pid in _children():
                with suppress(OSError):
                    if attempt not in Path(f"/proc/{pid}/cmdline").read_text():
                        continue
                    os.kill(pid, signal.SIGSTOP)
                    if runs:
                        _run_until_qemu_img(pid)
                    else:
                        self._held.add(pid)
                    self._arrive(task_id)
                    return
            time.sleep(POLL_SECONDS)  # in a thread of its own; a child's start sends no event

    def _tell(self, task_id: str) -> None:
        with self._told.open("a") as file:
            file.write(f"{task_id}\n")

    def _arrive(self, task_id: str) -> None:
        with self._lock:
            if self._waiting.pop(task_id, None) is not None:
                self._tell(task_id)
            if not self._waiting:
                for pid in self._held:  # those have to notice by themselves that we are gone
                    os.kill(pid, signal.SIGCONT)
                os.kill(os.getpid(), signal.SIGKILL)


class _WatchedReader:
    """A reader of a blob; only the middle of what it reads is a moment."""

    def __init__(self, reader: Any, meet: Callable[[KillPoint], Any]) -> None:
        self._reader = reader
        self._meet = meet
        self._read_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def read(self, length: int) -> Any:
        chunk = await self._reader.read(length)
        self._read_bytes += len(chunk)
        if self._read_bytes >= HALF_BYTES:
            await self._meet(KillPoint("read", "half"))
        if not chunk:
            await self._meet(KillPoint("read", "end"))
        return chunk


def _task_id() -> str:
    """The task that is worked on here; the runner binds its id for the log."""
    return str(get_contextvars().get("task_id"))


def _children() -> list[int]:
    pid = os.getpid()
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _run_until_qemu_img(pid: int) -> None:
    """Step by step, so that it is not over before it is seen. Raises OSError if it is."""
    while Path(f"/proc/{pid}/comm").read_text().strip() != "qemu-img":
        os.kill(pid, signal.SIGCONT)
        time.sleep(CHILD_STEP_SECONDS)  # so far it may go until it is looked at again
        os.kill(pid, signal.SIGSTOP)
        while (state := _state(pid)) != "T":
            if state == "Z":
                raise ChildProcessError(pid)
            time.sleep(POLL_SECONDS)  # a handled signal sends no event


def _state(pid: int) -> str:
    """Of a process, by the letters of proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def main(config: str, plan: str, told: str) -> None:
    """Serve until the end comes."""
    moments = json.loads(Path(plan).read_text())
    doom = CallKiller(
        {task_id: KillPoint(**fields) for task_id, fields in moments.items()}, Path(told)
    )

    @asynccontextmanager
    async def open_watched(*arguments: Any) -> AsyncIterator[Drivers]:
        async with open_drivers(*arguments) as parts:
            doom.watch(parts)
            yield parts

    vars(daemon)["open_drivers"] = open_watched
    run_daemon(Path(config))


if __name__ == "__main__":
    main(*sys.argv[1:])
