"""Whether all is well, from a summary."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from imaged.core.blob import BlobState
from imaged.core.claim import InstanceId
from imaged.core.lifecycle import Status
from imaged.core.outbox import OutboxCount
from imaged.core.summary import (
    BlobUsage,
    HeldImage,
    HeldTask,
    Instance,
    InstanceReport,
    StoreSpace,
    Summary,
    TaskCount,
)
from imaged.core.task import TaskStatus
from imaged.core.verdict import (
    Pace,
    Problem,
    find_problems,
    last_comparison,
    last_reload,
    store_spaces,
)

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
PACE = Pace(lease=MINUTE, comparison=6 * HOUR)
A, B = InstanceId("a"), InstanceId("b")

REPORT = InstanceReport(spaces={"local": StoreSpace(1000, 500, 10)}, reconciled_ago_seconds=3600)
ONE = Instance(A, "1", ("api", "scrubber", "tasks"), NOW - DAY, NOW, report=REPORT)
WELL = Summary(NOW, [ONE], [], {Status.ACTIVE: 3}, [], 0, 0, None)


def one(**changes: Any) -> Summary:
    """A summary that is well, but for its only instance."""
    return replace(WELL, instances=[replace(ONE, **changes)])


def reported(**changes: Any) -> Summary:
    """A summary that is well, but for what its only instance reports."""
    return one(report=replace(REPORT, **changes))


def space(size: int, free: int, kept: int) -> Summary:
    """A summary with a store of this size."""
    return reported(spaces={"local": StoreSpace(size, free, kept)})


def held(ago: timedelta) -> list[Any]:
    """An image and a task whose lease was over so long ago."""
    return [
        HeldImage(B, "i", Status.SAVING, NOW - HOUR, NOW - ago),
        HeldTask(B, "t", "import", "p1", NOW - HOUR, NOW - ago),
    ]


@pytest.mark.parametrize(
    ("summary", "problems"),
    [
        (WELL, []),
        (replace(WELL, instances=[]), [Problem("no instance runs")]),
        (
            one(seen_at=NOW - 5 * MINUTE),
            [Problem("no instance runs"), Problem("a is silent", 5 * MINUTE)],
        ),
        (one(seen_at=NOW - MINUTE), []),
        (one(roles=("api", "scrubber")), [Problem("no instance has the role tasks")]),
        (
            replace(
                WELL,
                instances=[replace(ONE, roles=("api", "tasks")), replace(ONE, id=B, roles=())],
            ),
            [Problem("no instance has the role scrubber")],
        ),
        (
            reported(failing_part_seconds={"store far": 90.0}),
            [Problem("a is without store far", 1.5 * MINUTE)],
        ),
        (reported(missing_blobs=2), [Problem("missing blobs", 2)]),
        (replace(WELL, damaged=1), [Problem("damaged images", 1)]),
        (space(1000, 61, 10), []),
        (space(1000, 59, 10), [Problem("store local has 5% left for uploads")]),
        (space(1000, 10, 10), [Problem("store local is full and refuses uploads")]),
        (
            replace(WELL, held_images=held(2 * MINUTE)[:1], held_tasks=held(2 * MINUTE)[1:]),
            [Problem("images and tasks of dead instances", 2)],
        ),
        (replace(WELL, held_images=held(MINUTE)[:1], held_tasks=held(-MINUTE)[1:]), []),
        (replace(WELL, oldest={Status.SAVING: NOW - DAY, Status.ACTIVE: NOW - 9 * DAY}), []),
        (
            replace(WELL, oldest={Status.IMPORTING: NOW - DAY - HOUR}),
            [Problem("an image is importing", DAY + HOUR)],
        ),
        (replace(WELL, tasks=[TaskCount("x", TaskStatus.PENDING, 3, NOW - 12 * HOUR)]), []),
        (
            replace(
                WELL,
                tasks=[
                    TaskCount("x", TaskStatus.PENDING, 3, NOW - HOUR),
                    TaskCount("y", TaskStatus.PENDING, 1, NOW - 13 * HOUR),
                    TaskCount("z", TaskStatus.PROCESSING, 1, NOW - 20 * HOUR),
                ],
            ),
            [Problem("tasks wait", 13 * HOUR)],
        ),
        (replace(WELL, oldest_due_at=NOW - HOUR), []),
        (replace(WELL, oldest_due_at=NOW - 2 * HOUR), [Problem("deletion is behind", 2 * HOUR)]),
        (
            replace(WELL, blob_usage=[BlobUsage("local", BlobState.DOOMED, 3, 9, failing=2)]),
            [Problem("blobs that could not be deleted", 2)],
        ),
        (replace(WELL, outbox=OutboxCount(3, 1, NOW - HOUR)), []),
        (
            replace(WELL, outbox=OutboxCount(3, 1, NOW - 2 * HOUR)),
            [Problem("events wait for the receiver of notifications", 2 * HOUR)],
        ),
        (reported(reconciled_ago_seconds=13 * 3600), []),
        (
            reported(reconciled_ago_seconds=14 * 3600),
            [Problem("stores and catalog were not compared", 14 * HOUR)],
        ),
        (
            reported(reconciled_ago_seconds=None),
            [Problem("stores and catalog were not compared", DAY)],
        ),
        (reported(is_reload_rejected=True), [Problem("a rejected its last reload")]),
        (one(troubles=("It is locked.", "So is this.")), [Problem("troubles of instances", 2)]),
        (replace(WELL, warnings=["Strays are held back."]), [Problem("warnings", 1)]),
    ],
)
def test_what_is_not_well(summary: Summary, problems: list[Problem]) -> None:
    """Each has a limit, and nothing is told below it."""
    assert find_problems(summary, PACE) == problems


def test_a_comparison_that_is_disabled_is_not_missed() -> None:
    """Nor is one that no instance has been long enough there for."""
    never = reported(reconciled_ago_seconds=None)

    assert find_problems(never, replace(PACE, comparison=timedelta(0))) == []
    assert find_problems(replace(never, at=ONE.started_at), PACE) == []  # type: ignore[arg-type]


def test_the_most_urgent_comes_first() -> None:
    """Missing bytes come before a reload that was rejected."""
    summary = reported(is_reload_rejected=True, missing_blobs=1)

    assert [problem.what for problem in find_problems(summary, PACE)] == [
        "missing blobs",
        "a rejected its last reload",
    ]


def test_what_several_instances_report_is_one_fact() -> None:
    """The least free space, and the latest comparison and reload with what they found."""
    other = InstanceReport(
        spaces={"local": StoreSpace(1000, 400, 10), "far": StoreSpace(9, 9, 0)},
        reconciled_ago_seconds=60,
        missing_blobs=7,
        reloaded_ago_seconds=5,
        is_reload_rejected=True,
    )
    told = replace(WELL, instances=[ONE, replace(ONE, id=B, seen_at=NOW - MINUTE, report=other)])

    assert store_spaces(told) == {"far": StoreSpace(9, 9, 0), "local": StoreSpace(1000, 400, 10)}
    assert last_comparison(told) == (NOW - 2 * MINUTE, other)
    assert last_reload(told) == (NOW - MINUTE - timedelta(seconds=5), other)
    assert last_reload(WELL) == (None, InstanceReport())
