"""Errors of tasks and of their work."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class TaskNotFound(ImagedError):
    """No task has this id, or the caller may not see it."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task {task_id}.")
        self.task_id = task_id


class TaskNotFinal(ImagedError):
    """Only a task that has ended can be removed."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task {task_id} is {status}; cancel it first.")


class TaskFinal(ImagedError):
    """A task that has ended cannot be cancelled."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task {task_id} has ended already, in {status}.")


class TaskFailed(ImagedError):
    """The work is impossible. The text is for the task's owner: without paths, internal addresses
    and secrets.
    """


class TaskStalled(ImagedError):
    """An attempt made no progress for too long. Another attempt may succeed."""

    def __init__(self, phase: str, seconds: float) -> None:
        super().__init__(
            f"No progress was made for {seconds:g} s ({phase}): what is read from, or written to, "
            "does not answer."
        )
        self.phase = phase
        self.seconds = seconds


class TooManyTasks(ImagedError):
    """The owner has reached the limit of tasks that have not ended."""

    def __init__(self, owner: str, limit: int) -> None:
        super().__init__(
            f"The project {owner} has {limit} tasks that have not ended, and may not have more. "
            "Wait until some have ended, or cancel some, and ask again."
        )


class FetchFailed(ImagedError):
    """A fetch failed. The text names the host, the phase and the reason.

    ``host``: with its port if it is not the default of the scheme; never with credentials, path or
    query.
    ``phase``: "address", "name", "connection", "answer", "redirect" or "body".
    """

    def __init__(self, host: str, phase: str, reason: str) -> None:
        super().__init__(f"Fetching from {host} failed ({phase}): {reason}.")
        self.host = host
        self.phase = phase
        self.reason = reason


class FetchRefused(FetchFailed):
    """The address is one that fetches may not connect to."""


class ConversionFailed(ImagedError):
    """A disk format could not be converted to another."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The image could not be converted: {why}.")
        self.why = why


class ConversionRefused(ConversionFailed):
    """The conversion is impossible here, whatever the bytes are."""
