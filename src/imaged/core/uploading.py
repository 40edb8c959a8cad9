"""The changes by which an image gets its data: uploads, staging, imports, clones.

A task that writes an image is in it until the task is final: so the task's end and the image's
are one change, whoever brings it about, and neither can be without the other.

A change says what becomes of the image alone. What follows for the bytes, the ledger and the
owner's account is worked out from the difference, in one place: ``ledger.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from imaged.core.broken_upload import begin_body
from imaged.core.claim import Claim, require_claim
from imaged.core.declared_formats import require_formats_declared, require_formats_unchanged
from imaged.core.errors import ClaimLost, InvalidTransition
from imaged.core.image import BrokenUpload, Change, ClaimedChange, Content, Failure, Image, Location
from imaged.core.lifecycle import FAILURE_EVENTS, Event, Status, next_status
from imaged.core.task import (
    Task,
    TaskChange,
    TaskStatus,
    ended_attempt,
    pick_up,
    succeed,
)

#: What an owner calls the work that an image is claimed for.
PHASES: Mapping[Status, str] = {
    Status.SAVING: "upload",
    Status.UPLOADING: "staging",
    Status.IMPORTING: "import",
}


def begin_upload(location: Location, announced_bytes: int | None = None) -> ClaimedChange:
    """Claim a queued image, and say where its bytes are going.

    Raises RetryMismatch for what cannot be the whole file whose upload broke off before.
    """

    def change(image: Image, claim: Claim) -> Image:
        status = _status_for_data(image, Event.UPLOAD_BEGAN)
        broken = begin_body(image.broken_upload, announced_bytes)
        return replace(
            image, status=status, claim=claim, locations=(location,), broken_upload=broken
        )

    return change


def begin_staging(
    location: Location, announced_bytes: int | None = None, *, replaces: bool = False
) -> ClaimedChange:
    """The same for bytes that are staged.

    ``replaces``: they come instead of those that were staged before, and are let go.
    """

    def change(image: Image, claim: Claim) -> Image:
        if replaces and image.status is Status.UPLOADING and image.claim is None:
            image = _unstaged(image)
        status = _status_for_data(image, Event.STAGING_BEGAN)
        broken = begin_body(image.broken_upload, announced_bytes)
        return replace(image, status=status, claim=claim, staged=location, broken_upload=broken)

    return change


def begin_import(task: Task) -> Change:
    """Accept an import call; a worker will pick its task up."""

    def change(image: Image) -> Image:
        if image.claim is not None:  # its staging is still running
            raise InvalidTransition(image.status, Event.IMPORT_BEGAN)
        status = _status_for_data(image, Event.IMPORT_BEGAN)
        return replace(image, status=status, task=replace(task, writes=image.id))

    return change


def begin_attempt(image: Image, claim: Claim) -> Image:
    """Pick up the image's task, as a worker."""
    if image.status is not Status.IMPORTING or image.task is None:
        raise InvalidTransition(image.status, "picked up")
    return replace(image, claim=claim, task=pick_up(image.task))


def write_to(location: Location) -> ClaimedChange:
    """Say where the bytes of an attempt are going. Bytes that it wrote before are let go."""

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        return replace(image, locations=(location,))

    return change


def reserve(size_bytes: int, received: BrokenUpload | None = None) -> ClaimedChange:
    """Reserve more, because the body turns out longer than what was reserved for it.

    ``received``: what has come of it, to be remembered in case that it breaks off.
    """

    def change(image: Image, claim: Claim) -> Image:
        require_claim(image.claim, claim)
        if received is not None:
            image = replace(image, broken_upload=received)
        if image.status is Status.UPLOADING and image.staged is not None:
            return replace(image, staged=replace(image.staged, size_bytes=size_bytes))
        (location,) = image.locations
        return replace(image, locations=(replace(location, size_bytes=size_bytes),))

    return change


def stage_data(content: Content) -> ClaimedChange:
    """The staged bytes are whole and durable; their digests are kept, for the import to compare.

    What their format told is not kept: it may be declared otherwise before they are imported.
    """
    staged = replace(content, virtual_size_bytes=None, notice=None)

    def change(image: Image, claim: Claim) -> Image:
        image = reserve(content.size_bytes)(image, claim)
        return replace(
            image,
            claim=None,
            finished_by=claim.token,
            staged_content=staged,
            broken_upload=None,
        )

    return change


def store_data(content: Content, result: Mapping[str, object] | None = None) -> ClaimedChange:
    """The image's bytes are whole and durable, and what they are is known.

    ``result``: of the task that wrote them, if it has more to say than the image's id.
    """

    def change(image: Image, claim: Claim) -> Image:
        image = reserve(content.size_bytes)(image, claim)
        return _completed(image, claim, content, result)

    return change


def share_data(source: Image) -> Change:
    """Become a clone: other locations of the same bytes. Raises FormatsChanged."""

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
    """The same, as the end of the task that makes the clone. Raises ClaimLost, FormatsChanged."""

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
    """Where the image goes when claimed work ends without a result.

    ``reason``: one sentence, for the image's owner.
    ``final``: the work failed, and another attempt of its task would not help.
    ``kill``: an upload that failed is not to be tried again on this image (the v1 behaviour).
    ``counts``: an attempt that ended so was one; False where its worker was stopped in good order.
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
    """Change the task that writes the image, with what follows for the image. Raises ClaimLost."""

    def change_image(image: Image) -> Image:
        if image.task is None:
            raise ClaimLost
        task = change(image.task)
        return image if task is image.task else _with_task(image, task)

    return change_image


def unstage(seen: Image) -> Change:
    """Let go of staged bytes that nobody imported in time."""

    def change(image: Image) -> Image:
        if image.version != seen.version or image.claim is not None:
            raise InvalidTransition(image.status, Event.STAGING_FAILED)
        return _unstaged(image)

    return change


def emptied(image: Image) -> Image:
    """The image without data, and without work on it: a retry always starts clean.

    What is remembered of a body that broke off stays: that body alone is a retry.
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
    """What follows for an image when its task is pending again, or has failed."""
    match task.status:
        case TaskStatus.PENDING:  # what was staged stays for the next attempt
            return replace(image, claim=None, task=task, locations=())
        case TaskStatus.FAILURE:
            return replace(_failed_import(image, task.message or ""), task=task)
        case _:
            return replace(image, task=task)


def _failed_import(image: Image, reason: str) -> Image:
    """What was staged stays, whole as it is: a next import call finds it."""
    if image.staged is None or image.draft:
        return _failed(image, Event.IMPORT_FAILED, reason)
    return replace(
        image,
        status=next_status(image.status, Event.IMPORT_FAILED_STAGED),
        claim=None,
        locations=(),
        last_failure=Failure(PHASES[image.status], reason),
    )


def _failed(image: Image, event: Event, reason: str) -> Image:
    """The image without a result of the work on it; a draft is never seen by anybody."""
    if image.draft:
        return replace(emptied(image), status=next_status(image.status, Event.DELETED))
    failure = Failure(PHASES[image.status], reason)
    status = next_status(image.status, event)
    return replace(emptied(image), status=status, last_failure=failure)


def _status_for_data(image: Image, event: Event) -> Status:
    status = next_status(image.status, event)
    require_formats_declared(image)
    return status
