"""Limits repeated events: a fault that occurs a thousand times a minute is logged a few times.

Warnings and errors are of one kind if event, level and ``KIND_FIELDS`` are equal. ``BURST`` events
of a kind are written per minute; the others are counted, and ``log.repeated`` reports the count at
the end of the minute. While the fault lasts, only counts follow; after a minute without it, events
are written in full again. Events below warning are not limited, except refused requests, which
any client can cause.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, WrappedLogger

log = structlog.get_logger()

BURST = 5
RATE_LIMIT_WINDOW_SECONDS = 60.0
MAX_EVENT_KINDS = 256  # tracked; above this, the oldest kind starts again
LIMITED_LEVELS = frozenset({"warning", "error", "critical"})
KIND_FIELDS = ("store", "part", "duty", "library", "status", "error_type")  # distinguish kinds
COUNT_EVENT = "log.repeated"

#: Limited at any level: any client can cause them.
LIMITED_EVENTS = frozenset({"request.refused"})
#: An operator waits for each.
UNLIMITED_EVENTS = frozenset({"config.rejected", "config.restart_needed", "daemon.start_failed"})

EventKind = tuple[object, ...]


@dataclass(slots=True)
class _Window:
    """One minute of one kind."""

    first: EventDict
    ends_at: float
    passed: int = 0
    suppressed: int = 0
    since: str = ""


class RateLimiter:
    """A structlog processor that passes the first events of each kind. Thread-safe."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._windows: OrderedDict[EventKind, _Window] = OrderedDict()  # in the order of their ends
        self._lock = Lock()

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Return the event, or raise DropEvent; log the counts that are due."""
        if event["event"] == COUNT_EVENT:
            return event
        with self._lock:
            over = self._close(self._now())
            is_told = not _is_limited(event) or self._admit(event)
        for window in over:
            _log_suppressed(window)
        if not is_told:
            raise structlog.DropEvent
        return event

    def flush(self) -> None:
        """Log all counts now, for example at exit."""
        with self._lock:
            left = [window for window in self._windows.values() if window.suppressed]
            self._windows.clear()
        for window in left:
            _log_suppressed(window)

    def _admit(self, event: EventDict) -> bool:
        kind = (event["event"], event["level"], *(str(event.get(place)) for place in KIND_FIELDS))
        window = self._windows.get(kind)
        if window is None:
            window = _Window(event, self._now() + RATE_LIMIT_WINDOW_SECONDS)
            self._windows[kind] = window
        if window.passed < BURST:
            window.passed += 1
            return True
        window.since = window.since or str(event.get("timestamp", ""))
        window.suppressed += 1
        return False

    def _close(self, now: float) -> list[_Window]:
        """End expired windows, and return those with suppressed events. Each of these starts
        another window in which all events are suppressed.
        """
        over = []
        while self._windows:
            kind, window = next(iter(self._windows.items()))
            if window.ends_at > now and len(self._windows) < MAX_EVENT_KINDS:
                break
            del self._windows[kind]
            if window.suppressed:
                over.append(window)
                if window.ends_at <= now:
                    following = _Window(window.first, now + RATE_LIMIT_WINDOW_SECONDS, passed=BURST)
                    self._windows[kind] = following
        return over


def _is_limited(event: EventDict) -> bool:
    if event["event"] in LIMITED_EVENTS:
        return True
    return event["level"] in LIMITED_LEVELS and event["event"] not in UNLIMITED_EVENTS


def _log_suppressed(window: _Window) -> None:
    first = window.first
    log.warning(
        "log.repeated",
        repeated=first["event"],
        times=window.suppressed,
        since=window.since,
        store=first.get("store"),
        part=first.get("part"),
        duty=first.get("duty"),
        library=first.get("library"),
        status=first.get("status"),
        error_type=first.get("error_type"),
    )
