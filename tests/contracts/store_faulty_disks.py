"""Disks that are traced, fail, fill up or hang, for the filesystem store."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Self

from imaged.stores.filesystem.disk import Disk

WAIT_TIMEOUT_SECONDS = 10
DISK_CALLS = frozenset(name for name in vars(Disk) if not name.startswith("_"))


def os_error(number: int) -> OSError:
    """The kernel's error."""
    return OSError(number, os.strerror(number))


class WatchedDisk(Disk, ABC):
    """A real disk; ``_watched`` stands between the store and every call."""

    def __getattribute__(self, name: str) -> Any:
        """Calls pass through ``_watched``, everything else is unchanged."""
        value = super().__getattribute__(name)
        return partial(self._watched, name, value) if name in DISK_CALLS else value

    @abstractmethod
    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any: ...


@dataclass(frozen=True, slots=True)
class Call:
    """A call and its result."""

    name: str
    args: tuple[Any, ...]
    result: Any


class TracedDisk(WatchedDisk):
    """Records its calls."""

    def __init__(self, *, without: Sequence[str] = ()) -> None:
        self.trace: list[Call] = []
        self._without = without

    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name in self._without:
            raise os_error(errno.EINVAL)
        if name == "writev":
            args = (args[0], [bytes(chunk) for chunk in args[1]])
        result = call(*args, **named)
        self.trace.append(Call(name, args, result))
        return result


@dataclass
class Fault:
    """From the n-th call of this name on, or only then, the disk fails."""

    name: str
    number: int
    nth: int = 1
    is_sticky: bool = False
    seen: int = 0

    def strikes(self, name: str) -> bool:
        """Whether it applies to this call."""
        if name != self.name:
            return False
        self.seen += 1
        return self.seen >= self.nth if self.is_sticky else self.seen == self.nth


@dataclass
class FaultyDisk(WatchedDisk):
    """Fails where a fault applies, and counts calls."""

    faults: list[Fault] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        with self._lock:
            self.counts[name] = self.counts.get(name, 0) + 1
            hits = [fault for fault in self.faults if fault.strikes(name)]
        if hits and name == "close":
            call(*args, **named)  # Linux closes a descriptor also when it reports an error
        if hits:
            raise os_error(hits[0].number)
        return call(*args, **named)


class SmallDisk(WatchedDisk):
    """Has room for this many bytes in all files together, and accepts what still fits."""

    def __init__(self, room_bytes: int, min_free_bytes: int = 0) -> None:
        self._room_bytes = room_bytes
        self._min_free_bytes = min_free_bytes
        self._sizes: dict[tuple[int, int], int] = {}

    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        match name:
            case "writev":
                return self._write(*args)
            case "statvfs":
                figures = [*call(*args, **named)]
                figures[0] = figures[1] = 1  # f_bsize, f_frsize
                figures[4] = self._free() + self._min_free_bytes  # f_bavail
                return os.statvfs_result(figures)
            case "unlink":
                self._forget(Path(args[0]).stat())
                return call(*args, **named)
            case "ftruncate":
                if not args[1]:  # a hole takes no space
                    self._forget(os.fstat(args[0]))
                return call(*args, **named)
            case _:
                return call(*args, **named)

    def _free(self) -> int:
        return self._room_bytes - sum(self._sizes.values())

    def _forget(self, status: os.stat_result) -> None:
        self._sizes.pop((status.st_dev, status.st_ino), None)

    def _write(self, descriptor: int, chunks: Sequence[bytes]) -> int:
        data = b"".join(chunks)[: self._free()]
        if not data:
            raise os_error(errno.ENOSPC)
        status = os.fstat(descriptor)
        file = (status.st_dev, status.st_ino)
        self._sizes[file] = self._sizes.get(file, 0) + len(data)
        return os.write(descriptor, data)


class HangingDisk(WatchedDisk):
    """Hangs in one kind of call until it is released, as an unreachable disk does.

    Leaving its block releases it, so that a failing test does not hang too.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._hangs = threading.Event()
        self._released = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.release()

    async def hung(self) -> None:
        """Wait until a thread hangs in the call."""
        assert await asyncio.to_thread(self._hangs.wait, WAIT_TIMEOUT_SECONDS)

    def release(self) -> None:
        """Release it, and hang no more."""
        self._released.set()

    def _watched(self, name: str, call: Callable[..., Any], *args: Any, **named: Any) -> Any:
        if name == self._name:
            self._hangs.set()
            self._released.wait()
        return call(*args, **named)
