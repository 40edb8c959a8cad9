"""Whether all is well, and what is not: decided from a summary of the service.

The limits are those of the alerts (``monitoring/alerts.yml``), so that both say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from imaged.core.lifecycle import Status
from imaged.core.summary import Instance, InstanceReport, StoreSpace, Summary
from imaged.core.task import TaskStatus

ROLES = ("api", "scrubber", "tasks")
LOW_SHARE = 0.05  # of a store, for uploads
LONGEST_UPLOAD = timedelta(days=1)
LONGEST_WAIT_OF_TASKS = timedelta(hours=12)
LONGEST_WAIT_OF_DELETION = timedelta(hours=1)
LONGEST_WAIT_OF_EVENTS = timedelta(hours=1)
LONGEST_DELAY_OF_COMPARISON = timedelta(hours=1)  # beyond two intervals


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is not well; ``measure``: how many there are, or for how long it has been."""

    what: str
    measure: int | timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How often things are done: ``lease``, of instances; ``comparison``, 0 if it is disabled."""

    lease: timedelta
    comparison: timedelta


def find_problems(summary: Summary, pace: Pace) -> Sequence[Problem]:
    """Return what is not well, the most urgent first; empty if all is well."""
    return [
        *_of_instances(summary, pace.lease),
        *_of_bytes(summary),
        *_of_spaces(store_spaces(summary)),
        *_of_roles(summary, pace.lease),
        *_of_work(summary, pace.lease),
        *_of_deletion(summary),
        *_of_notifications(summary),
        *_of_comparison(summary, pace),
        *_of_reports(summary),
    ]


def store_spaces(summary: Summary) -> Mapping[str, StoreSpace]:
    """The space of each store; where instances differ, the least free one."""
    spaces: dict[str, StoreSpace] = {}
    for instance in summary.instances:
        for name, space in instance.report.spaces.items():
            least = min(spaces.get(name, space), space, key=lambda one: one.free_bytes)
            spaces[name] = least
    return dict(sorted(spaces.items()))


def last_comparison(summary: Summary) -> tuple[datetime | None, InstanceReport]:
    """When stores and catalog were last compared, and the report of the instance that did it."""
    return _latest(summary, lambda report: report.reconciled_ago_seconds)


def last_reload(summary: Summary) -> tuple[datetime | None, InstanceReport]:
    """When an instance last reloaded its configuration, and the report of that instance."""
    return _latest(summary, lambda report: report.reloaded_ago_seconds)


def _latest(
    summary: Summary, ago_seconds: Callable[[InstanceReport], float | None]
) -> tuple[datetime | None, InstanceReport]:
    done = [
        (instance.seen_at - timedelta(seconds=ago), instance.report)
        for instance in summary.instances
        if instance.seen_at is not None and (ago := ago_seconds(instance.report)) is not None
    ]
    return max(done, key=lambda one: one[0]) if done else (None, InstanceReport())


def _of_instances(summary: Summary, lease: timedelta) -> Iterator[Problem]:
    running = _running(summary, lease)
    if not running:
        yield Problem("no instance runs")
    for instance in summary.instances:
        if instance not in running and instance.seen_at is not None:
            yield Problem(f"{instance.id} is silent", summary.at - instance.seen_at)
    for instance in running:
        for part, seconds in instance.report.failing_part_seconds.items():
            yield Problem(f"{instance.id} is without {part}", timedelta(seconds=seconds))


def _of_roles(summary: Summary, lease: timedelta) -> Iterator[Problem]:
    running = _running(summary, lease)
    for role in ROLES if running else ():
        if not any(role in instance.roles for instance in running):
            yield Problem(f"no instance has the role {role}")


def _of_bytes(summary: Summary) -> Iterator[Problem]:
    _, report = last_comparison(summary)
    if report.missing_blobs:
        yield Problem("missing blobs", report.missing_blobs)
    if summary.damaged:
        yield Problem("damaged images", summary.damaged)


def _of_spaces(spaces: Mapping[str, StoreSpace]) -> Iterator[Problem]:
    for name, space in spaces.items():
        left = space.free_bytes - space.min_free_bytes
        if left <= 0:
            yield Problem(f"store {name} is full and refuses uploads")
        elif left < LOW_SHARE * space.size_bytes:
            yield Problem(f"store {name} has {left / space.size_bytes:.0%} left for uploads")


def _of_work(summary: Summary, lease: timedelta) -> Iterator[Problem]:
    ends = [one.lease_until for one in summary.held_images]
    ends += [one.lease_until for one in summary.held_tasks]
    stalled = sum(summary.at - end > lease for end in ends)
    if stalled:
        yield Problem("images and tasks of dead instances", stalled)
    for status in (Status.SAVING, Status.IMPORTING):
        if status in summary.oldest and summary.at - summary.oldest[status] > LONGEST_UPLOAD:
            yield Problem(f"an image is {status}", summary.at - summary.oldest[status])
    waits = [one.oldest_at for one in summary.tasks if one.status is TaskStatus.PENDING]
    if waits and summary.at - min(waits) > LONGEST_WAIT_OF_TASKS:
        yield Problem("tasks wait", summary.at - min(waits))


def _of_deletion(summary: Summary) -> Iterator[Problem]:
    failing = sum(usage.failing for usage in summary.blob_usage)
    if failing:
        yield Problem("blobs that could not be deleted", failing)
    due_at = summary.oldest_due_at
    if due_at is not None and summary.at - due_at > LONGEST_WAIT_OF_DELETION:
        yield Problem("deletion is behind", summary.at - due_at)


def _of_notifications(summary: Summary) -> Iterator[Problem]:
    oldest_at = summary.outbox.oldest_at
    if oldest_at is not None and summary.at - oldest_at > LONGEST_WAIT_OF_EVENTS:
        yield Problem("events wait for the receiver of notifications", summary.at - oldest_at)


def _of_comparison(summary: Summary, pace: Pace) -> Iterator[Problem]:
    starts = [
        instance.started_at
        for instance in _running(summary, pace.lease)
        if "scrubber" in instance.roles and instance.started_at is not None
    ]
    if not starts or not pace.comparison:
        return
    at, _ = last_comparison(summary)
    since = summary.at - (at or min(starts))
    if since > 2 * pace.comparison + LONGEST_DELAY_OF_COMPARISON:
        yield Problem("stores and catalog were not compared", since)


def _of_reports(summary: Summary) -> Iterator[Problem]:
    for instance in summary.instances:
        if instance.report.is_reload_rejected:
            yield Problem(f"{instance.id} rejected its last reload")
    troubles = sum(len(instance.troubles) for instance in summary.instances)
    if troubles:
        yield Problem("troubles of instances", troubles)
    if summary.warnings:
        yield Problem("warnings", len(summary.warnings))


def _running(summary: Summary, lease: timedelta) -> Sequence[Instance]:
    return [
        instance
        for instance in summary.instances
        if instance.seen_at is not None and summary.at - instance.seen_at <= lease
    ]
