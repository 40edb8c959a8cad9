"""The changes that give an image its data: uploads, staging, imports, clones.

A task that writes an image is stored in it until the task is final: the end of the task and the
change of the image are always one change.

A change returns only the new image. ``ledger.py`` derives the changes of blobs and of the owner's
account from the difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imaged.core.broken_upload import begin_body
from imaged.core.claim import Claim, require_claim
from imaged.core.errors import ClaimLost, InvalidTransition
from imaged.core.growth import ahead_at_begin, reserve
from imaged.core.image import (
    Change,
    ClaimedChange,
    Content,
    Failure,
    Image,
    Location,
    require_formats_declared,
    require_formats_unchanged,
)
from imaged.core.lifecycle import FAILURE_EVENTS, Event, Status, next_status
from imaged.core.task import Task, TaskChange, TaskStatus, ended_attempt, pick_up, succeed

#: The work that an image is claimed for, in the owner's terms, by status.
PHASES: Mapping[Status, str] = {
    Status.SAVING: "upload",
    Status.UPLOADING: "staging",
    Status.IMPORTING: "import",
}


def begin_upload(location: Location, announced_bytes: int | None = None) -> ClaimedChange:
    """Claim a queued image, and record the location of its future bytes.

    Raises RetryMismatch if the body cannot be the whole file whose upload broke off before.
    """

    def change(image: Image, claim: Claim) -> Image:
        status = _status_for_data(image, Event.UPLOAD_BEGAN)
        broken = begin_body(image.broken_upload, announced_bytes)
        return replace(
            image,
            status=status,
            claim=claim,
            ahead_bytes=ahead_at_begin(announced_bytes),
            locations=(location,),
            broken_upload=broken,
        )

    return change


def begin_staging(
    location: Location, announced_bytes: int | None = None, *, replaces: bool = False
) -> ClaimedChange:
    """Claim a queued image for staged bytes.

    ``replaces``: the new bytes replace those staged before, which are released.
    """

    def change(image: Image, claim: Claim) -> Image:
        if replaces and image.status is Status.UPLOADING and image.claim is None:
            image = _unstaged(image)
        status = _status_for_data(image, Event.STAGING_BEGAN)
        broken = begin_body(image.broken_upload, announced_bytes)
        return replace(
            image,
            status=status,
            claim=claim,
            ahead_bytes=ahead_at_begin(announced_bytes),
            staged=location,
            broken_upload=broken,
        )

    return change


def begin_import(task: Task) -> Change:
    """Accept an import call; a worker will claim its task."""

    def change(image: Image) -> Image:
        if image.claim is not None:  # its staging is still running
            raise InvalidTransition(image.status, Event.IMPORT_BEGAN)
        status = _status_for_data(image, Event.IMPORT_BEGAN)
        return replace(image, status=status, task=replace(task, writes=image.id))

    return change


def begin_attempt(image: Image, claim: Claim) -> Image:
    """Claim the image's task as a worker. Raises InvalidTransition."""
    if image.status is not Status.IMPORTING or image.task is None:
        raise InvalidTransition(image.status, "picked up")
    return replace(image, claim=claim, task=pick_up(image.task))


def write_to(location: Location, *, grows: bool = False) -> ClaimedChange:
    """Record the location of the bytes of an attempt. Bytes that it wrote before are released.

    ``grows``: their number is unknown.
    """

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        return replace(image, locations=(location,), ahead_bytes=0 if grows else None)

    return change


def stage_data(content: Content) -> ClaimedChange:
    """The staged bytes are complete and durable; their digests are kept for the import to compare.

    The results of their inspection are not kept: the declared format may change before the import.
    """
    staged = replace(content, virtual_size_bytes=None, notice=None)

    def change(image: Image, claim: Claim) -> Image:
        image = reserve(content.size_bytes)(image, claim)
        return replace(
            image, claim=None, finished_by=claim.token, staged_content=staged, broken_upload=None
        )

    return change


def store_data(content: Content, result: Mapping[str, object] | None = None) -> ClaimedChange:
    """The image's bytes are complete and durable, with this content.

    ``result``: of the task that wrote them, if it has more fields than the image's id.
    """

    def change(image: Image, claim: Claim) -> Image:
        image = reserve(content.size_bytes)(image, claim)
        return _completed(image, claim, content, result)

    return change


def share_data(source: Image) -> Change:
    """Become a clone with other locations of the same bytes. Raises FormatsChanged."""

    def change(image: Image) -> Image:
        require_formats_unchanged(image, source.formats)
        return replace(
            image,
            status=next_status(image.status, Event.LOCATION_ADDED),
            locations=source.locations,
            content=source.content,
            last_failure=None,
            broken_upload=None,
        )

    return change


def share_to_finish(source: Image, result: Mapping[str, object] | None = None) -> ClaimedChange:
    """Become a clone, and end the task that makes it. Raises ClaimLost, FormatsChanged."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        require_formats_unchanged(image, source.formats)
        if source.content is None:
            raise InvalidTransition(source.status, "be cloned")
        shared = replace(image, locations=source.locations)
        return _completed(shared, claim, source.content, result)

    return change


def give_back(
    lost: Claim, reason: str, *, final: bool, kill: bool = False, counts: bool = True
) -> Change:
    """The image after claimed work ended without a result.

    ``reason``: one sentence, for the image's owner.
    ``final``: the work failed, and another attempt of its task would not help.
    ``kill``: a failed upload must not be retried on this image (the v1 behaviour).
    ``counts``: whether the attempt counts; False if its worker was stopped regularly.
    """

    def change(image: Image) -> Image:
        require_claim(image.claim, lost)
        if image.status is Status.IMPORTING and image.task is not None:
            task = ended_attempt(image.task, reason, final=final, counts=counts)
            return _with_task(image, task)
        event = FAILURE_EVENTS[image.status]
        if kill and event is Event.UPLOAD_FAILED:
            event = Event.UPLOAD_KILLED
        return _failed(image, event, reason)

    return change


def change_task(change: TaskChange) -> Change:
    """Change the task that writes the image, and the image accordingly. Raises ClaimLost."""

    def change_image(image: Image) -> Image:
        if image.task is None:
            raise ClaimLost
        task = change(image.task)
        return image if task is image.task else _with_task(image, task)

    return change_image


def unstage(seen: Image) -> Change:
    """Release staged bytes that were not imported in time."""

    def change(image: Image) -> Image:
        if image.version != seen.version or image.claim is not None:
            raise InvalidTransition(image.status, Event.STAGING_FAILED)
        return _unstaged(image)

    return change


def emptied(image: Image) -> Image:
    """The image without data and without work on it, so that a retry starts clean.

    The record of a broken upload is kept.
    """
    return replace(image, claim=None, locations=(), staged=None, staged_content=None, content=None)


def _completed(
    image: Image, claim: Claim, content: Content, result: Mapping[str, object] | None
) -> Image:
    task, event = image.task, Event.UPLOAD_SUCCEEDED
    if image.status is Status.IMPORTING:
        task = task and succeed(task, result or {"image_id": image.id})
        event = Event.IMPORT_SUCCEEDED
    return replace(
        image,
        status=next_status(image.status, event),
        draft=False,
        claim=None,
        finished_by=claim.token,
        staged=None,
        staged_content=None,
        task=task,
        content=content,
        last_failure=None,
        broken_upload=None,
    )


def _unstaged(image: Image) -> Image:
    return replace(emptied(image), status=next_status(image.status, Event.STAGING_FAILED))


def _with_task(image: Image, task: Task) -> Image:
    """The image after its task became pending again, or failed."""
    match task.status:
        case TaskStatus.PENDING:  # staged bytes are kept for the next attempt
            return replace(image, claim=None, task=task, locations=())
        case TaskStatus.FAILURE:
            return replace(_failed_import(image, task.message or ""), task=task)
        case _:
            return replace(image, task=task)


def _failed_import(image: Image, reason: str) -> Image:
    """The image with its staged bytes kept for the next import call."""
    if image.staged is None:
        return _failed(image, Event.IMPORT_FAILED, reason)
    return replace(
        image,
        status=next_status(image.status, Event.IMPORT_FAILED_STAGED),
        claim=None,
        locations=(),
        last_failure=Failure(PHASES[image.status], reason),
    )


def _failed(image: Image, event: Event, reason: str) -> Image:
    """The image after failed work on it; a draft stays invisible."""
    if image.draft:
        return replace(emptied(image), status=next_status(image.status, Event.DELETED))
    failure = Failure(PHASES[image.status], reason)
    status = next_status(image.status, event)
    return replace(emptied(image), status=status, last_failure=failure)


def _status_for_data(image: Image, event: Event) -> Status:
    status = next_status(image.status, event)
    require_formats_declared(image)
    return status
