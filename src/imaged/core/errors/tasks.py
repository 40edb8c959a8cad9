"""What a task does not allow, and what its work can fail by."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class TaskNotFound(ImagedError):
    """No task has this id, or none that the caller may see."""

    def __init__(self, task_id: str) -> None:
        super().__init__(f"There is no task {task_id}.")
        self.task_id = task_id


class TaskNotFinal(ImagedError):
    """Only a task that has ended is removed."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task {task_id} is {status}; cancel it first.")


class TaskFinal(ImagedError):
    """What has ended cannot be cancelled."""

    def __init__(self, task_id: str, status: str) -> None:
        super().__init__(f"The task {task_id} has ended already, in {status}.")


class TaskFailed(ImagedError):
    """The work cannot be done. The sentence is for the task's owner: no paths, no addresses of
    our own, no secrets.
    """


class TaskStalled(ImagedError):
    """An attempt made no progress for too long. Another one may do better."""

    def __init__(self, phase: str, seconds: float) -> None:
        super().__init__(
            f"No progress was made for {seconds:g} s ({phase}): what is read from, or written to, "
            "does not answer."
        )
        self.phase = phase
        self.seconds = seconds


class TooManyTasks(ImagedError):
    """The owner has as many tasks that have not ended as he may have."""

    def __init__(self, owner: str, limit: int) -> None:
        super().__init__(
            f"The project {owner} has {limit} tasks that have not ended, and may not have more. "
            "Wait until some have ended, or cancel some, and ask again."
        )


class FetchFailed(ImagedError):
    """What was to be fetched could not be had. Names the host, the phase and the reason.

    ``host``: with its port where it is not the scheme's own; never credentials, path or query.
    ``phase``: "address", "name", "connection", "answer", "redirect" or "body".
    """

    def __init__(self, host: str, phase: str, reason: str) -> None:
        super().__init__(f"Fetching from {host} failed ({phase}): {reason}.")
        self.host = host
        self.phase = phase
        self.reason = reason


class FetchRefused(FetchFailed):
    """It lies where fetches may not go."""


class ConversionFailed(ImagedError):
    """One disk format could not be turned into another."""

    def __init__(self, why: str) -> None:
        super().__init__(f"The image could not be converted: {why}.")
        self.why = why


class ConversionRefused(ConversionFailed):
    """It cannot be done here, whatever the bytes are."""
