"""Errors of tasks and of their work."""

from __future__ import annotations

from imaged.core.errors.base import ImagedError


class TaskNotFound(ImagedError):
    """No task has this id, or the caller may not see it."""

    http_status = 404
    remedy = (
        "Check the id; only the project that created a task sees it, and its record is deleted "
        "some time after its end."
    )
    sentence = "There is no task {}."


class TaskNotFinal(ImagedError):
    """Only a task that has ended can be removed."""

    http_status = 409
    remedy = "Wait for its end, or cancel it first."
    sentence = "The task {} is {}; cancel it first."


class TaskFinal(ImagedError):
    """A task that has ended cannot be cancelled."""

    http_status = 409
    remedy = "Nothing: it has ended."
    sentence = "The task {} has ended already, in {}."


class TaskFailed(ImagedError):
    """The work is impossible. The text is for the task's owner: without paths, internal addresses
    and secrets.
    """

    http_status = 400
    remedy = "Do what the sentence says, and create it again."


class TaskStalled(ImagedError):
    """An attempt made no progress for too long. Another attempt may succeed."""

    http_status = 503
    remedy = "Wait: the task is repeated. If it persists, a disk or a server hangs."

    def __init__(self, phase: str, seconds: float) -> None:
        super().__init__(
            f"No progress was made for {seconds:g} s ({phase}): what is read from, or written to, "
            "does not answer."
        )
        self.phase = phase
        self.seconds = seconds


class TooManyTasks(ImagedError):
    """The owner has reached the limit of tasks that have not ended."""

    http_status = 413
    remedy = "Wait, or cancel some, or have the operator raise `tasks.max_unfinished_per_owner`."
    sentence = (
        "The project {} has {} tasks that have not ended, and may not have more. "
        "Wait until some have ended, or cancel some, and ask again."
    )


class FetchFailed(ImagedError):
    """A fetch failed. The text names the host, the phase and the reason.

    ``host``: with its port if it is not the default of the scheme; never with credentials, path or
    query.
    ``phase``: "address", "name", "connection", "answer", "redirect" or "body".
    """

    http_status = 400
    remedy = "Check the answer of the host, and try again."

    def __init__(self, host: str, phase: str, reason: str) -> None:
        super().__init__(f"Fetching from {host} failed ({phase}): {reason}.")
        self.host = host
        self.phase = phase
        self.reason = reason


class FetchRefused(FetchFailed):
    """The address is one that fetches may not connect to."""

    remedy = "Have the operator allow the address in `[fetch]`, if it is meant."


class ConversionFailed(ImagedError):
    """A disk format could not be converted to another."""

    http_status = 400
    remedy = "Check the image: it may be damaged, or of another format."

    def __init__(self, why: str) -> None:
        super().__init__(f"The image could not be converted: {why}.")
        self.why = why


class ConversionRefused(ConversionFailed):
    """The conversion is impossible here, whatever the bytes are."""

    remedy = "Use one of the formats that the sentence names."
