"""Outages of stores and the catalog: their beginning and their end are logged."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
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

FAILURE = StoreError("cloud", "does not answer")

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


@pytest.mark.parametrize(
    ("part", "watched", "failure"),
    [
        ("store", partial(watch_store, "cloud"), FAILURE),
        ("catalog", watch_catalog, CatalogError("It does not answer.")),
    ],
)
def test_an_hour_of_outage(
    clock: Clock, lines: Lines, part: str, watched: Callable[..., Meter], failure: Exception
) -> None:
    """Its beginning is one line, and its end another, with the number of failures and the
    duration.
    """
    watch = watched(ignore_measurement, clock)
    for _ in range(3_600):
        watch("put", 0.1, failure)
        clock.now += 1
    watch("put", 0.1, None)
    assert [line["event"] for line in lines] == [f"{part}.degraded"]
    clock.now += 60
    watch("put", 0.1, None)
    watch("put", 0.1, None)

    first, last = lines
    assert (first["log_level"], first["operation"]) == ("error", "put")
    assert "does not answer" in first["error"]
    assert (last["event"], last["log_level"]) == (f"{part}.recovered", "info")
    assert last["failures"] == 3_600
    assert last["lasted_s"] == 3_660


ONE = ["store.degraded"]
TWO = ["store.degraded", "store.recovered"] * 2


@pytest.mark.parametrize(
    ("steps", "events"),
    [
        ([FAILURE, 2, None] * 20, ONE),  # a success between failures ends no outage
        ([FAILURE, 11, None] * 2, TWO),  # the next outage is told at once
        ([FAILURE, 60, BlobMissing("cloud", "k")], ONE),  # only a success ends an outage
        ([StoreFull("cloud", "is full")], []),
        ([StoreError("other", "does not answer")], []),
        ([BlobMissing("cloud", "k")], []),
        ([BlobExists("cloud", "k")], []),
        ([WriteDiscarded("cloud", "k")], []),
        ([ClientVanished()], []),
        ([KeyError()], []),
        ([None], []),
    ],
)
def test_what_is_an_outage(
    clock: Clock, lines: Lines, steps: list[Exception | int | None], events: list[str]
) -> None:
    """Refusals and errors of clients are none. Numbers are pauses, in seconds."""
    watch = watch_store("cloud", ignore_measurement, clock)
    for step in steps:
        if isinstance(step, int):
            clock.now += step
        else:
            watch("read", 0.1, step)

    assert [line["event"] for line in lines] == events


def test_the_meter_behind_is_told_everything(clock: Clock) -> None:
    """The wrapped meter gets every operation unchanged."""
    seen: list[tuple[str, float, BaseException | None]] = []

    def meter(what: str, seconds: float, error: BaseException | None) -> None:
        seen.append((what, seconds, error))

    with capture_logs():
        watch_store("cloud", meter, clock)("put", 0.1, FAILURE)
        watch_store("cloud", meter, clock)("open", 0.2, None)
        watch_catalog(meter, clock)("beat", 0.3, None)

    assert seen == [("put", 0.1, FAILURE), ("open", 0.2, None), ("beat", 0.3, None)]
