"""The changes by which an image gets its data: uploads, staging, imports, clones.

A change says what becomes of the image alone. What follows for the bytes, the ledger and the
owner's account is worked out from the difference, in one place: ``ledger.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imaged.core.claim import Claim, require_claim
from imaged.core.errors import ClaimLost, FormatsUnset, ImageDeleted, InvalidTransition
from imaged.core.image import Change, ClaimedChange, Content, Failure, Image, Location
from imaged.core.lifecycle import FAILURES, GONE, Event, Status, next_status
from imaged.core.task import Task, TaskStatus, cancel, fail, lose, pick_up, succeed

#: What an owner calls the work that an image is claimed for.
PHASES: Mapping[Status, str] = {
    Status.SAVING: "upload",
    Status.UPLOADING: "staging",
    Status.IMPORTING: "import",
}


def begin_upload(location: Location) -> ClaimedChange:
    """Claim a queued image, and say where its bytes are going."""

    def change(image: Image, claim: Claim) -> Image:
        status = _leave_for_data(image, Event.UPLOAD_BEGAN)
        return replace(image, status=status, claim=claim, locations=(location,))

    return change


def begin_staging(location: Location) -> ClaimedChange:
    """Claim a queued image, and say where its staged bytes are going."""

    def change(image: Image, claim: Claim) -> Image:
        status = _leave_for_data(image, Event.STAGING_BEGAN)
        return replace(image, status=status, claim=claim, staged=location)

    return change


def begin_import(task: Task) -> Change:
    """Accept an import call; a worker will pick its task up."""

    def change(image: Image) -> Image:
        if image.claim is not None:  # its staging is still running
            raise InvalidTransition(image.status, Event.IMPORT_BEGAN)
        return replace(image, status=_leave_for_data(image, Event.IMPORT_BEGAN), task=task)

    return change


def begin_attempt(location: Location) -> ClaimedChange:
    """Pick up the image's task, as a worker."""

    def change(image: Image, claim: Claim) -> Image:
        if image.status is not Status.IMPORTING or image.task is None:
            raise InvalidTransition(image.status, "picked up")
        return replace(image, claim=claim, task=pick_up(image.task), locations=(location,))

    return change


def reserve(size_bytes: int) -> ClaimedChange:
    """Reserve more, because the body turns out longer than what was reserved for it."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        if image.status is Status.UPLOADING and image.staged is not None:
            return replace(image, staged=replace(image.staged, size_bytes=size_bytes))
        (location,) = image.locations
        return replace(image, locations=(replace(location, size_bytes=size_bytes),))

    return change


def stage_data(content: Content) -> ClaimedChange:
    """The staged bytes are whole and durable."""

    def change(image: Image, claim: Claim) -> Image:
        image = reserve(content.size_bytes)(image, claim)
        return replace(image, claim=None, finished_by=claim.token)

    return change


def store_data(content: Content) -> ClaimedChange:
    """The image's bytes are whole and durable, and what they are is known."""

    def change(image: Image, claim: Claim) -> Image:
        image = reserve(content.size_bytes)(image, claim)
        imported = image.status is Status.IMPORTING
        event = Event.IMPORT_SUCCEEDED if imported else Event.UPLOAD_SUCCEEDED
        return replace(
            image,
            status=next_status(image.status, event),
            claim=None,
            finished_by=claim.token,
            staged=None,
            task=succeed(image.task) if imported and image.task else image.task,
            content=content,
            last_failure=None,
        )

    return change


def share_data(source: Image) -> Change:
    """Become a clone: other locations of the same bytes."""

    def change(image: Image) -> Image:
        return replace(
            image,
            status=next_status(image.status, Event.LOCATION_ADDED),
            locations=source.locations,
            content=source.content,
            last_failure=None,
        )

    return change


def give_back(lost: Claim, reason: str, *, final: bool, kill: bool = False) -> Change:
    """Where the image goes when claimed work ends without a result.

    ``reason``: one sentence, for the image's owner.
    ``final``: the work failed, and another attempt of its task would not help.
    ``kill``: an upload that failed is not to be tried again on this image (the v1 behaviour).
    """

    def change(image: Image) -> Image:
        require_claim(image.claim, lost)
        task = image.task
        if image.status is Status.IMPORTING and task is not None:
            task = fail(task, reason) if final else lose(task, reason)
            if task.status is TaskStatus.PENDING:  # what was staged stays for the next attempt
                return replace(image, claim=None, task=task, locations=())
        event = FAILURES[image.status]
        if kill and event is Event.UPLOAD_FAILED:
            event = Event.UPLOAD_KILLED
        failure = Failure(PHASES[image.status], reason)
        status = next_status(image.status, event)
        return replace(emptied(image), status=status, task=task, last_failure=failure)

    return change


def refuse_attempt(reason: str) -> Change:
    """No worker may even begin; so the task ends here, instead of waiting for ever."""

    def change(image: Image) -> Image:
        if image.task is None or image.task.status is not TaskStatus.PENDING:
            raise ClaimLost
        status = next_status(image.status, Event.IMPORT_FAILED)
        failure = Failure(PHASES[image.status], reason)
        task = cancel(image.task, reason)
        return replace(emptied(image), status=status, task=task, last_failure=failure)

    return change


def unstage(seen: Image) -> Change:
    """Let go of staged bytes that nobody imported in time."""

    def change(image: Image) -> Image:
        if image.version != seen.version or image.claim is not None:
            raise InvalidTransition(image.status, Event.STAGING_FAILED)
        return replace(emptied(image), status=next_status(image.status, Event.STAGING_FAILED))

    return change


def require_undeleted(image: Image) -> None:
    """Raise ImageDeleted if the image is gone for its users."""
    if image.status in GONE:
        raise ImageDeleted(image.id)


def emptied(image: Image) -> Image:
    """The image without data, and without work on it: a retry always starts clean."""
    return replace(image, claim=None, locations=(), staged=None, content=None)


def _leave_for_data(image: Image, event: Event) -> Status:
    status = next_status(image.status, event)
    if image.disk_format is None or image.container_format is None:
        raise FormatsUnset
    return status
