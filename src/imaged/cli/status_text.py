"""What ``imaged status`` prints for people: the verdict, the facts behind it, and tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime, timedelta
from itertools import islice

from imaged.cli.output import printable
from imaged.cli.tables import TextTable
from imaged.core.blob import BlobState
from imaged.core.outbox import OutboxCount
from imaged.core.quota import Resource
from imaged.core.summary import BlobUsage, HeldImage, HeldTask, RequestCounts, Summary
from imaged.core.task import TaskStatus
from imaged.core.verdict import Problem, last_comparison, last_reload, store_spaces
from imaged.units import approximate_duration, approximate_size, pluralize

UNKNOWN = "?"
SHOWN_PROJECTS = 5  # that are at a limit; `imaged quota --full` lists all
FACT_WIDTH = 12  # columns of the names of facts


@dataclass(frozen=True, slots=True)
class Status:
    """One reading: the summary, what is not well, and what the settings and backups add."""

    summary: Summary
    problems: Sequence[Problem]
    _: KW_ONLY
    scrub_delay: timedelta  # how long deleted images can be restored
    watches_backups: bool = False  # whether backup.folder is set
    backup_at: datetime | None = None  # when the newest one there was complete
    #: The projects that have reached limits, and which; None: the limits are in Keystone.
    full_projects: Mapping[str, Sequence[Resource]] | None = None


def request_counts(summary: Summary) -> RequestCounts:
    """The requests of all instances, each since its start."""
    counts = [instance.report.requests for instance in summary.instances]
    return RequestCounts(
        sum(one.answered for one in counts),
        sum(one.failed for one in counts),
        sum(one.refused for one in counts),
    )


def restorable_until(seen: Status) -> datetime | None:
    """When the first deleted image cannot be restored any more; None without one."""
    since = seen.summary.restorable_since
    return None if since is None else since + seen.scrub_delay


def verdict_line(problems: Sequence[Problem]) -> str:
    """One line that says whether all is well, and what is not."""
    if not problems:
        return "All is well."
    return f"Not all is well: {', '.join(map(problem_text, problems))}."


def problem_text(problem: Problem) -> str:
    """The problem, with how many there are or for how long it has been."""
    match problem.measure:
        case None:
            return problem.what
        case timedelta() as duration:
            return f"{problem.what} ({approximate_duration(duration)})"
        case number:
            return f"{problem.what} ({number})"


def fact_lines(seen: Status) -> Iterator[str]:
    """What the verdict is about, in numbers, each with its name before it."""
    for name, fact in _facts(seen):
        yield f"{name:{FACT_WIDTH}}{fact}"


def _facts(seen: Status) -> Iterator[tuple[str, str]]:
    summary = seen.summary
    at, spaces = summary.at, store_spaces(summary)
    for name, space in spaces.items():
        free, size = approximate_size(space.free_bytes), approximate_size(space.size_bytes)
        kept = approximate_size(space.min_free_bytes)
        yield "space", f"{name}: {free} of {size} free, {kept} must stay free"
    compared_at, comparison = last_comparison(summary)
    missing = pluralize(comparison.missing_blobs, "missing blob")
    compared = "not compared since the start" if compared_at is None else _ago(compared_at, at)
    yield "bytes", f"{missing}, {pluralize(summary.damaged, 'damaged image')}"
    yield "comparison", f"of stores and catalog: {compared}"
    reloaded_at, reload = last_reload(summary)
    result = ", rejected" if reload.is_reload_rejected else ""
    yield "reload", "none" if reloaded_at is None else f"{_ago(reloaded_at, at)}{result}"
    yield "backup", _backup(seen)
    yield "requests", _requests(request_counts(summary))
    waiting = [one for one in summary.tasks if one.status is TaskStatus.PENDING]
    oldest_at = min((one.oldest_at for one in waiting), default=None)
    lag = "" if oldest_at is None else f", the oldest for {_since(oldest_at, at)}"
    yield (
        "work",
        (
            f"{pluralize(len(summary.held_images), 'image')} and "
            f"{pluralize(len(summary.held_tasks), 'task')} in hand; "
            f"{pluralize(sum(one.tasks for one in waiting), 'task')} waiting{lag}"
        ),
    )
    if seen.full_projects:
        yield "limits", _limits(seen.full_projects)
    yield "deletion", _deletion(summary)
    yield "restorable", _restorable(seen)
    if summary.outbox.oldest_at is not None:
        yield "events", _events(summary.outbox, _since(summary.outbox.oldest_at, at))
    for warning in summary.warnings:
        yield "warning", warning


def _backup(seen: Status) -> str:
    if not seen.watches_backups:
        return "not watched: backup.folder is not set"
    return "none" if seen.backup_at is None else _ago(seen.backup_at, seen.summary.at)


def _requests(counts: RequestCounts) -> str:
    return (
        f"{counts.answered} answered since the start, {counts.failed} failed (5xx), "
        f"{counts.refused} refused (401, 403)"
    )


def _restorable(seen: Status) -> str:
    """What can be restored, and when the first of it goes."""
    images, size = seen.summary.restorable, approximate_size(seen.summary.restorable_bytes)
    sentence = f"{pluralize(images, 'deleted image')} ({size})"
    until = restorable_until(seen)
    if until is None:
        return sentence
    left = until - seen.summary.at
    when = f"in {_left(left)}" if left > timedelta(0) else "now"
    return f"{sentence}; the first goes {when}"


def _limits(full: Mapping[str, Sequence[Resource]]) -> str:
    """Which projects can store no more; their names are printable, and few."""
    named = [
        f"{printable(project)} ({', '.join(resources)})"
        for project, resources in islice(full.items(), SHOWN_PROJECTS)
    ]
    more = ["…"] if len(full) > SHOWN_PROJECTS else []
    return f"{pluralize(len(full), 'project')} at a limit: {', '.join([*named, *more])}"


def _events(outbox: OutboxCount, waited: str) -> str:
    """What waits for the receiver of notifications."""
    failing = f", {outbox.failing} of them with failures" if outbox.failing else ""
    return (
        f"{pluralize(outbox.events, 'event')} waiting to be sent{failing}; the oldest for {waited}"
    )


def _deletion(summary: Summary) -> str:
    """What waits for the scrubber, and since when."""
    doomed, due_at = doomed_blobs(summary), summary.oldest_due_at
    size, failing = sum(one.size_bytes for one in doomed), sum(one.failing for one in doomed)
    sentence = (
        f"{pluralize(sum(one.blobs for one in doomed), 'blob')} that no image needs "
        f"({approximate_size(size)}), {failing} of them with failures"
    )
    if due_at is None:
        return sentence
    if due_at > summary.at:
        return f"{sentence}; the first is due in {_left(due_at - summary.at)}"
    return f"{sentence}; the first is due for {_since(due_at, summary.at)}"


def status_tables(summary: Summary) -> Iterator[TextTable]:
    """The summary as tables."""
    at = summary.at
    yield TextTable(
        pluralize(len(summary.instances), "instance"),
        ("instance", "version", "roles", "for", "last seen"),
        [
            (
                instance.id,
                instance.version,
                ", ".join(instance.roles),
                _since(instance.started_at, at),
                f"{_since(instance.seen_at, at)} ago",
            )
            for instance in summary.instances
        ],
    )
    troubles = [(one.id, trouble) for one in summary.instances for trouble in one.troubles]
    if troubles:
        yield TextTable(pluralize(len(troubles), "trouble"), ("instance", "what it says"), troubles)
    yield TextTable(
        f"{pluralize(len(summary.held_images), 'image')} being worked on",
        ("instance", "image", "status", "for", "lease left"),
        [(one.instance, one.image_id, one.status, *_held(one, at)) for one in summary.held_images],
    )
    yield TextTable(
        f"{pluralize(len(summary.held_tasks), 'task')} being worked on",
        ("instance", "task", "type", "owner", "for", "lease left"),
        [
            (one.instance, one.task_id, one.type, one.owner, *_held(one, at))
            for one in summary.held_tasks
        ],
    )
    waiting_tasks = [count for count in summary.tasks if count.status is TaskStatus.PENDING]
    yield TextTable(
        f"{pluralize(sum(count.tasks for count in waiting_tasks), 'task')} waiting",
        ("type", "tasks", "oldest"),
        [(one.type, str(one.tasks), _since(one.oldest_at, at)) for one in waiting_tasks],
    )
    damaged = f", {summary.damaged} of them damaged" if summary.damaged else ""
    yield TextTable(
        pluralize(sum(summary.images.values()), "image") + damaged,
        ("status", "images"),
        [(status, str(count)) for status, count in sorted(summary.images.items())],
    )
    if summary.damaged_images:
        yield TextTable(
            pluralize(summary.damaged, "damaged image"),
            ("image", "what is wrong"),
            [(one.image_id, one.problem) for one in summary.damaged_images],
        )
    yield TextTable(
        pluralize(sum(usage.blobs for usage in summary.blob_usage), "blob"),
        ("store", "state", "blobs", "size"),
        [
            (usage.store, usage.state, str(usage.blobs), approximate_size(usage.size_bytes))
            for usage in summary.blob_usage
        ],
    )


def doomed_blobs(summary: Summary) -> list[BlobUsage]:
    """The blobs that wait for the scrubber."""
    return [usage for usage in summary.blob_usage if usage.state is BlobState.DOOMED]


def _ago(moment: datetime, at: datetime) -> str:
    return f"{_since(moment, at)} ago"


def _since(moment: datetime | None, at: datetime) -> str:
    return UNKNOWN if moment is None else approximate_duration(at - moment)


def _held(holding: HeldImage | HeldTask, at: datetime) -> tuple[str, str]:
    """Since when, and how long the lease still lasts."""
    return _since(holding.since, at), _left(holding.lease_until - at)


def _left(duration: timedelta) -> str:
    return "over" if duration.total_seconds() < 0 else approximate_duration(duration)
