"""Outages of stores and the catalog: begin, counts and end are logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from imaged.core.errors import (
    BlobExists,
    BlobMissing,
    CatalogError,
    ClientVanished,
    StoreError,
    StoreFull,
    WriteDiscarded,
)
from imaged.ports.meter import Meter, ignore_measurement
from imaged.telemetry.outages import watch_catalog, watch_store

Lines = list[Any]


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock at its start."""
    return Clock()


@pytest.fixture
def lines() -> Iterator[Lines]:
    """Return the logged events."""
    with capture_logs() as lines:
        yield lines


def watches(clock: Clock) -> list[tuple[str, Meter, Callable[[], Exception]]]:
    """A watched store and a watched catalog, with a failure of each."""
    return [
        (
            "store",
            watch_store("cloud", ignore_measurement, clock),
            lambda: StoreError("cloud", "does not answer"),
        ),
        (
            "catalog",
            watch_catalog(ignore_measurement, clock),
            lambda: CatalogError("It does not answer."),
        ),
    ]


@pytest.mark.parametrize("which", [0, 1])
def test_an_hour_of_outage(clock: Clock, lines: Lines, which: int) -> None:
    """The begin, a count each minute, and the end with failures and duration are logged."""
    part, watch, failure = watches(clock)[which]
    for _ in range(3_600):
        watch("put", 0.1, failure())
        clock.now += 1
    watch("put", 0.1, None)
    assert [line["event"] for line in lines] == [f"{part}.degraded"] * 60
    clock.now += 60
    watch("put", 0.1, None)
    watch("put", 0.1, None)

    assert {line["log_level"] for line in lines[:-1]} == {"error"}
    assert [line["failures"] for line in lines[:3]] == [1, 60, 60]
    assert "does not answer" in lines[0]["error"]
    assert lines[0]["operation"] == "put"
    *_, last = lines
    assert (last["event"], last["log_level"]) == (f"{part}.recovered", "info")
    assert last["failures"] == 3_600
    assert last["lasted_s"] == 3_660
    assert len(lines) == 61


def test_a_store_that_fails_now_and_then_does_not_flicker(clock: Clock, lines: Lines) -> None:
    """A success between failures does not end an outage."""
    _, watch, failure = watches(clock)[0]
    for _ in range(20):
        watch("read", 0.1, failure())
        clock.now += 2
        watch("read", 0.1, None)

    assert [line["event"] for line in lines] == ["store.degraded"]


def test_the_next_outage_is_told_at_once(clock: Clock, lines: Lines) -> None:
    """A new outage soon after the last one is logged."""
    _, watch, failure = watches(clock)[0]
    for _ in range(2):
        watch("read", 0.1, failure())
        clock.now += 11
        watch("read", 0.1, None)

    assert [line["event"] for line in lines] == ["store.degraded", "store.recovered"] * 2


@pytest.mark.parametrize(
    "error",
    [
        StoreFull("cloud", "is full"),
        StoreError("other", "does not answer"),
        BlobMissing("cloud", "k"),
        BlobExists("cloud", "k"),
        WriteDiscarded("cloud", "k"),
        ClientVanished(),
        KeyError(),
        None,
    ],
)
def test_events_that_are_no_outage(clock: Clock, lines: Lines, error: Exception | None) -> None:
    """Refusals and errors of clients are not outages."""
    _, watch, _ = watches(clock)[0]
    watch("put", 0.1, error)

    assert lines == []


def test_a_refusal_ends_no_outage(clock: Clock, lines: Lines) -> None:
    """Only a success ends an outage."""
    _, watch, failure = watches(clock)[0]
    watch("put", 0.1, failure())
    clock.now += 60
    watch("put", 0.1, BlobMissing("cloud", "k"))

    assert [line["event"] for line in lines] == ["store.degraded"]


def test_the_meter_behind_is_told_everything(clock: Clock) -> None:
    """The wrapped meter gets every operation unchanged."""
    seen: list[tuple[str, float, BaseException | None]] = []

    def meter(what: str, seconds: float, error: BaseException | None) -> None:
        seen.append((what, seconds, error))

    failure = StoreError("cloud", "does not answer")
    with capture_logs():
        watch_store("cloud", meter, clock)("put", 0.1, failure)
        watch_store("cloud", meter, clock)("open", 0.2, None)
        watch_catalog(meter, clock)("beat", 0.3, None)

    assert seen == [("put", 0.1, failure), ("open", 0.2, None), ("beat", 0.3, None)]
