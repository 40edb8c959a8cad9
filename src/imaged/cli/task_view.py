"""The output of ``imaged tasks``: JSON, tables, and bars on a terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from imaged.cli.tables import TextTable, printable
from imaged.core.task import Progress, Task, TaskStatus
from imaged.units import approximate_duration, approximate_size, pluralize

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

COLUMNS = ("task", "type", "owner", "status", "progress", "made", "why it failed")
BAR_WIDTH = 24


def task_json(task: Task) -> dict[str, object]:
    """The task as JSON; the input has no secrets."""
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status.value,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "image_id": task.image_id,
        "attempts": task.attempts,
        "max_attempts": task.max_attempts,
        "progress": _progress_json(task.progress),
        "input": dict(task.input),
        "result": None if task.result is None else dict(task.result),
        "message": task.message,
        "created_at": _moment(task.created_at),
        "begun_at": _moment(task.begun_at),
        "updated_at": _moment(task.updated_at),
        "expires_at": _moment(task.expires_at),
    }


def task_table(page: Sequence[Task]) -> TextTable:
    """A page of tasks as a table."""
    return TextTable(pluralize(len(page), "task"), COLUMNS, [_row(task) for task in page])


def task_lines(task: Task) -> Iterator[str]:
    """A task as lines of text."""
    yield f"{task.id}  {task.type}  {task.status}"
    yield f"created by {printable(task.user_id)} of {printable(task.owner)} {_ago(task)}"
    yield f"attempt {task.attempts} of {task.max_attempts}; {_how_far(task) or 'nothing done yet'}"
    if task.image_id:
        yield f"image   {task.image_id}"
    yield f"input   {_json(task.input)}"
    if task.result is not None:
        yield f"result  {_json(task.result)}"
    if task.message:
        yield f"failed  {printable(task.message)}"


def draw_tasks(page: Sequence[Task]) -> Table:
    """The page for a terminal; running tasks have bars."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    for task in page:
        cells: list[RenderableType] = [
            Text(printable(cell), overflow="fold") for cell in _row(task)
        ]
        if task.status is TaskStatus.PROCESSING:
            cells[COLUMNS.index("progress")] = _bar(task)
        table.add_row(*cells)
    return table


def _bar(task: Task) -> RenderableType:
    """A progress bar, which pulses if the total is unknown."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    percent = task.progress.percent if task.progress else None
    cell = Table.grid()
    cell.add_row(ProgressBar(100, percent or 0, width=BAR_WIDTH, pulse=percent is None))
    cell.add_row(Text(printable(_how_far(task))))
    return cell


def _row(task: Task) -> tuple[str, ...]:
    return (
        task.id,
        task.type,
        task.owner,
        task.status,
        _how_far(task),
        _ago(task),
        task.message or "",
    )


def _how_far(task: Task) -> str:
    progress = task.progress
    if progress is None:
        return ""
    if progress.done_bytes is None:
        return progress.phase
    done, percent = approximate_size(progress.done_bytes), progress.percent
    if percent is None or progress.total_bytes is None:
        return f"{progress.phase}: {done}"
    return f"{progress.phase}: {done} of {approximate_size(progress.total_bytes)}, {percent} %"


def _ago(task: Task) -> str:
    made_at = task.created_at
    return f"{approximate_duration(datetime.now(UTC) - made_at)} ago" if made_at else ""


def _progress_json(progress: Progress | None) -> dict[str, object] | None:
    if progress is None:
        return None
    return {
        "phase": progress.phase,
        "done_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "percent": progress.percent,
    }


def _moment(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat(timespec="milliseconds")


def _json(facts: object) -> str:
    return json.dumps(facts, sort_keys=True)
