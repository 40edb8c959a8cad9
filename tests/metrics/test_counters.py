"""Meters change exactly the right series."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from imaged.core.errors import (
    BlobMissing,
    CatalogError,
    ClaimLost,
    ClientVanished,
    FormatRefused,
    ImageNotFound,
    StoreError,
    StoreFull,
    WriteDiscarded,
)
from imaged.core.task import Task, cancel, pick_up, succeed, worker_lost, worker_stopped
from imaged.metrics.operation_meters import CatalogMeter, DutyMeter, StoreMeters, TaskMeter
from imaged.metrics.request_meters import Outcome, TransferMeter, outcome_of
from support.quotas import refusal

Values = Callable[..., float | None]


@pytest.fixture
def value(registry: CollectorRegistry) -> Values:
    """Tells the value of a series."""
    return lambda name, **labels: registry.get_sample_value(f"imaged_{name}", labels)


@pytest.mark.parametrize(
    ("error", "errors", "measured"),
    [
        (None, 0, 1),
        (StoreError("local", "is on fire"), 1, 1),
        (BlobMissing("local", "k"), 1, 1),
        (StoreFull("local", "is full"), 1, 1),
        (WriteDiscarded("local", "k"), 0, 0),
        (StoreError("far", "of which bytes are copied"), 0, 0),
        (ClientVanished(), 0, 0),
        (asyncio.CancelledError(), 0, 0),
    ],
)
def test_what_is_a_stores_error(
    registry: CollectorRegistry,
    value: Values,
    error: BaseException | None,
    errors: int,
    measured: int,
) -> None:
    """Only the store's own errors count; aborted transfers are not measured."""
    StoreMeters(registry, ["local", "far"]).of("local")("put", 0.5, error)
    labels = {"store": "local", "operation": "put"}

    assert value("store_errors_total", **labels) == errors
    assert value("store_operation_seconds_count", **labels) == measured
    assert value("store_operation_seconds_sum", **labels) == measured / 2


@pytest.mark.parametrize(
    ("error", "errors", "measured"),
    [
        (None, 0, 1),
        (ImageNotFound("i"), 0, 1),
        (CatalogError("It does not answer."), 1, 1),
        (asyncio.CancelledError(), 0, 0),
        (ZeroDivisionError(), 0, 0),
    ],
)
def test_what_is_the_catalogs_error(
    registry: CollectorRegistry,
    value: Values,
    error: BaseException | None,
    errors: int,
    measured: int,
) -> None:
    """A missing answer counts as an error, a refusal does not."""
    CatalogMeter(registry)("write", 0.5, error)

    assert value("catalog_errors_total", kind="write") == errors
    assert value("catalog_transaction_seconds_count", kind="write") == measured


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, Outcome.COMPLETED),
        (ClientVanished(), Outcome.BROKEN_OFF),
        (FormatRefused("no"), Outcome.REFUSED),
        (refusal(), Outcome.REFUSED),
        (StoreFull("local", "is full"), Outcome.FAILED),
        (CatalogError("no answer"), Outcome.FAILED),
        (ClaimLost(), Outcome.FAILED),
        (ZeroDivisionError(), Outcome.FAILED),
        (asyncio.CancelledError(), Outcome.STOPPED),
    ],
)
def test_how_transfers_end(error: BaseException | None, outcome: Outcome) -> None:
    """Errors of clients and of the server have different outcomes."""
    assert outcome_of(error) is outcome


def test_transfers_are_counted_by_how_they_end(registry: CollectorRegistry, value: Values) -> None:
    """Only completed uploads are timed."""
    meter = TransferMeter(registry)
    meter("upload", 3, None)
    meter("upload", 5, FormatRefused("no"))
    meter("download", 7, None)

    def count(direction: str, outcome: str) -> float | None:
        return value("transfers_total", direction=direction, outcome=outcome)

    assert (count("upload", "completed"), count("upload", "refused")) == (1, 1)
    assert (count("download", "completed"), count("download", "refused")) == (1, 0)
    assert value("upload_seconds_sum") == 3
    assert value("format_refusals_total") == 1


def test_duties_that_fail_keep_the_moment_of_their_last_success(
    registry: CollectorRegistry, value: Values
) -> None:
    """A cancelled round is not counted; an unannounced duty gets its own series."""
    moments = iter([100.0, 200.0])
    meter = DutyMeter(registry, ["scrubber"], clock=lambda: next(moments))

    def seen(duty: str) -> tuple[float | None, float | None]:
        return (
            value("duty_last_success_timestamp_seconds", duty=duty),
            value("duty_failures_total", duty=duty),
        )

    assert seen("scrubber") == (0, 0)
    meter("scrubber", 1, None)
    meter("scrubber", 1, CatalogError("no answer"))
    meter("scrubber", 1, asyncio.CancelledError())
    meter("other", 1, None)

    assert seen("scrubber") == (100, 1)
    assert seen("other")[0] == 200


def test_how_tasks_end(registry: CollectorRegistry, value: Values) -> None:
    """Outcomes count by type; announced types start at 0, others appear when they occur."""
    meter = TaskMeter(registry, clock=lambda: 100.0)
    meter.register_types(["verify", "import"])
    waits = Task(id="t", type="verify", owner="p1")
    runs = pick_up(waits)
    meter.changed(None, waits)
    meter.changed(waits, runs)
    assert value("last_verify_timestamp_seconds") == 0
    meter.changed(runs, succeed(runs, {}))
    meter.changed(waits, cancel(replace(waits, type="other"), "enough"))

    def ended(name: str, outcome: str) -> float | None:
        return value("tasks_ended_total", type=name, outcome=outcome)

    assert (ended("verify", "success"), ended("verify", "failure")) == (1, 0)
    assert (ended("import", "success"), ended("import", "failure")) == (0, 0)
    assert ended("other", "failure") == 1
    assert value("last_verify_timestamp_seconds") == 100
    meter.changed(runs, worker_stopped(runs))  # an orderly stop is no lost attempt
    assert value("task_attempts_lost_total") == 0
    meter.changed(runs, worker_lost(runs, "It went silent."))
    assert value("task_attempts_lost_total") == 1


def test_how_long_tasks_take(registry: CollectorRegistry, value: Values) -> None:
    """Only successful attempts are timed."""
    meter = TaskMeter(registry)
    meter("verify", 3, None)
    meter("import", 5, FormatRefused("no"))
    meter("import", 4, None)

    assert value("task_seconds_count") == 2
    assert value("task_seconds_sum") == 7


def test_how_long_checks_take_is_not_told(registry: CollectorRegistry, value: Values) -> None:
    """Checks are not timed, but their failures count."""
    StoreMeters(registry, ["local"]).of("local")("check", 1, StoreError("local", "is on fire"))
    CatalogMeter(registry)("check", 1, None)

    assert value("store_errors_total", store="local", operation="check") == 1
    assert value("catalog_errors_total", kind="check") == 0
    for family in registry.collect():
        assert not [one for one in family.samples if one.name.endswith("_count") and one.value]
