"""Tasks as JSON, with the names of the OpenStack Image API v2; ``progress`` is an extension.

The input contains no secrets, and the id of a draft is omitted, because the image does not exist
for any caller yet.
"""

from __future__ import annotations

from imaged.api.serialize import moment
from imaged.core.task import Progress, Task


def task_json(task: Task) -> dict[str, object]:
    """The representation of a task."""
    return {
        **task_summary_json(task),
        "input": task.input,
        "result": task.result,
        "message": task.message,
    }


def task_summary_json(task: Task) -> dict[str, object]:
    """The representation of a task in a list."""
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "image_id": task.image_id,
        "progress": progress_json(task.progress),
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
        "expires_at": moment(task.expires_at),
        "self": task_path(task.id),
        "schema": "/v2/schemas/task",
    }


def progress_json(progress: Progress | None) -> dict[str, object] | None:
    """The progress; null before the task has begun."""
    if progress is None:
        return None
    return {
        "phase": progress.phase,
        "done_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "percent": progress.percent,
    }


def task_path(task_id: str) -> str:
    """The path of a task in this API."""
    return f"/v2/tasks/{task_id}"
