"""The secret part of a task's input, which only instances with its key can read."""

from __future__ import annotations

from imaged.core.errors import SecretKeyUnavailable, SecretUnreadable
from imaged.core.task import Task
from imaged.ports.secret_box import SecretBox


def why_secret_unreadable(seal: SecretBox, task: Task) -> str | None:
    """Why the task's secret cannot be read here; None if it can, or if there is none."""
    if task.sealed is None:
        return None
    try:
        seal.open(task.sealed)
    except (SecretKeyUnavailable, SecretUnreadable) as error:
        return str(error)
    return None
