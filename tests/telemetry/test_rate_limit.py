"""Repeated events are logged a few times and then counted."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from threading import Thread
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from imaged.telemetry import configure_log
from imaged.telemetry.rate_limit import (
    BURST,
    MAX_EVENT_KINDS,
    RATE_LIMIT_WINDOW_SECONDS,
    RateLimiter,
)
from support.log_capture import log_restored, logged

log = structlog.get_logger()


class Night:
    """A log with a clock that the test moves."""

    def __init__(self, lines: list[Any]) -> None:
        self.now = 0.0
        self.lines = lines
        self.repeats = RateLimiter(lambda: self.now)

    def tell(self, event: str, /, level: str = "error", **facts: Any) -> bool:
        """Log an event, and return whether it was written."""
        line = {"event": event, "level": level, "timestamp": f"{self.now:g}", **facts}
        try:
            self.repeats(None, level, line)
        except structlog.DropEvent:
            return False
        return True

    def counts(self) -> list[tuple[str, int]]:
        """Return the logged counts."""
        return [(line["repeated"], line["times"]) for line in self.lines]


@pytest.fixture
def night() -> Iterator[Night]:
    """A log without events."""
    with capture_logs() as lines:
        yield Night(lines)


def test_an_hour_of_failures_is_a_few_lines_and_a_count_each_minute(night: Night) -> None:
    """Ten failures a second give five lines and then a count."""
    told = 0
    for number in range(36_000):
        night.now = number / 10
        told += night.tell("request.failed", store="cloud", error=f"{number}")
    night.now += RATE_LIMIT_WINDOW_SECONDS
    night.tell("image.uploaded", "info")

    assert told == BURST
    assert 60 <= len(night.counts()) <= 61
    assert sum(times for _, times in night.counts()) == 36_000 - BURST
    assert {event for event, _ in night.counts()} == {"request.failed"}
    assert night.lines[0]["since"] == "0.5"
    assert night.lines[0]["store"] == "cloud"


def test_after_a_quiet_minute_it_is_told_in_full_again(night: Night) -> None:
    """After a minute without the fault, it is logged in full again."""
    first = [night.tell("request.failed") for _ in range(BURST + 3)]
    night.now += RATE_LIMIT_WINDOW_SECONDS
    night.tell("image.uploaded", "info")
    still = night.tell("request.failed")
    night.now += RATE_LIMIT_WINDOW_SECONDS
    night.tell("image.uploaded", "info")
    night.now += RATE_LIMIT_WINDOW_SECONDS
    night.tell("image.uploaded", "info")

    assert first == [True] * BURST + [False] * 3
    assert not still
    assert night.tell("request.failed")
    assert night.counts() == [("request.failed", 3), ("request.failed", 1)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"store": "near"}, {"store": "far"}),
        ({"duty": "scrubber"}, {"duty": "reconcile"}),
        ({"part": "catalog"}, {"part": "store near"}),
        ({"library": "a"}, {"library": "b"}),
        ({"status": 500}, {"status": 503}),
        ({"error_type": "StoreError"}, {"error_type": "KeyError"}),
    ],
)
def test_another_place_is_another_kind(
    night: Night, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Events of one kind do not suppress those of another."""
    for _ in range(BURST + 1):
        night.tell("some.trouble", **one)

    assert not night.tell("some.trouble", **one)
    assert night.tell("some.trouble", **other)
    assert night.tell("other.trouble", **one)


def test_refused_requests_are_limited_at_any_level(night: Night) -> None:
    """A client that guesses tokens fills no log, and its requests are counted."""
    told = [night.tell("request.refused", "info", status=401) for _ in range(1_000)]

    assert sum(told) == BURST
    assert night.tell("request.refused", "info", status=403)


def test_info_events_are_never_left_out(night: Night) -> None:
    """Events below warning are not limited."""
    assert all(night.tell("image.uploaded", "info") for _ in range(1_000))
    assert all(night.tell("config.rejected") for _ in range(1_000))  # a reload waits for it
    assert night.counts() == []


def test_memory_is_bounded(night: Night) -> None:
    """Kinds above the limit are logged rather than suppressed."""
    for number in range(3 * MAX_EVENT_KINDS):
        for _ in range(BURST + 1):
            night.tell("some.trouble", store=f"{number}")

    assert len(night.repeats._windows) <= MAX_EVENT_KINDS
    assert len(night.counts()) >= 2 * MAX_EVENT_KINDS


def test_the_last_counts_are_told_at_the_end(night: Night) -> None:
    """Counts are logged at exit and when the log is configured again."""
    for _ in range(BURST + 7):
        night.tell("request.failed")
    night.repeats.flush()
    night.repeats.flush()

    assert night.counts() == [("request.failed", 7)]


def test_threads_may_share_it(night: Night) -> None:
    """Every event is either logged or counted, once."""
    told: list[bool] = []
    threads = [
        Thread(target=lambda: told.extend(night.tell("some.trouble") for _ in range(500)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    night.repeats.flush()

    assert sum(told) == BURST
    assert night.counts() == [("some.trouble", 2_000 - BURST)]


def test_the_log_is_set_up_with_it() -> None:
    """A reload, which configures the log again, loses no count."""
    output = io.StringIO()
    with log_restored():
        configure_log("info", "json", output)
        for number in range(BURST + 2):
            log.warning("some.trouble", number=number)
        configure_log("info", "json", output)

    *told, count = logged(output)
    assert [line["number"] for line in told] == list(range(BURST))
    assert (count["event"], count["repeated"], count["times"]) == (
        "log.repeated",
        "some.trouble",
        2,
    )
    assert count["since"] <= time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
