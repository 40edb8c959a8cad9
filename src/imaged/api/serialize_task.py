"""Tasks as JSON, with the names of the OpenStack Image API v2; ``progress`` is our own.

Secrets are not in the input, and a draft is not shown: an image that a task has not made yet exists
for nobody.
"""

from __future__ import annotations

from imaged.api.serialize import moment
from imaged.core.task import Progress, Task


def task_json(task: Task) -> dict[str, object]:
    """All that is shown of a task."""
    return {
        **task_summary_json(task),
        "input": task.input,
        "result": task.result,
        "message": task.message,
    }


def task_summary_json(task: Task) -> dict[str, object]:
    """What a list shows."""
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
    """How far it is; null before it has begun."""
    if progress is None:
        return None
    return {
        "phase": progress.phase,
        "done_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "percent": progress.percent,
    }


def task_path(task_id: str) -> str:
    """Where a task is in this API."""
    return f"/v2/tasks/{task_id}"
