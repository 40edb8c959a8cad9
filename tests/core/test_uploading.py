"""The changes by which an image gets its data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product

import pytest

from imaged.core.claim import Claim
from imaged.core.deletion import require_undeleted
from imaged.core.edits import begin_draft
from imaged.core.errors import ClaimLost, FormatsUnset, ImageDeleted, InvalidTransition
from imaged.core.growth import reserve
from imaged.core.image import Image
from imaged.core.ledger import without_ended_task
from imaged.core.lifecycle import IMAGE_TRANSITIONS, Event, Status
from imaged.core.task import TaskStatus, cancel
from imaged.core.uploading import (
    begin_attempt,
    begin_import,
    begin_staging,
    begin_upload,
    change_task,
    give_back,
    share_data,
    share_to_finish,
    stage_data,
    store_data,
    unstage,
    write_to,
)
from support.sample_images import (
    REASON,
    active,
    attempt_at,
    claim,
    content,
    draft,
    failure,
    importing,
    in_status,
    location,
    queued,
    saving,
    staged,
    task,
    uploading,
)


def _on(image: Image, change: Callable[[Image, Claim], Image]) -> Image:
    return change(image, claim())


BEGINNINGS: dict[Event, Callable[[Image], Image]] = {
    Event.UPLOAD_BEGAN: partial(_on, change=begin_upload(location())),
    Event.STAGING_BEGAN: partial(_on, change=begin_staging(location())),
    Event.IMPORT_BEGAN: begin_import(task()),
}


def attempting() -> Image:
    """An image with a staged file, whose task a worker has picked up."""
    return attempt_at(location("second"))(importing(staged()), claim())


@pytest.mark.parametrize(("status", "event"), list(product(Status, BEGINNINGS)))
def test_data_comes_only_where_the_table_lets_it(status: Status, event: Event) -> None:
    """Work begins in the statuses of the table; elsewhere it is refused."""
    image = replace(in_status(status), claim=None)

    if event in IMAGE_TRANSITIONS[status]:
        assert BEGINNINGS[event](image).status is IMAGE_TRANSITIONS[status][event]
    else:
        with pytest.raises(InvalidTransition):
            BEGINNINGS[event](image)


@pytest.mark.parametrize(
    ("event", "unset"), list(product(BEGINNINGS, ["disk_format", "container_format"]))
)
def test_data_waits_for_both_formats(event: Event, unset: str) -> None:
    """Without either format no data is taken."""
    image = replace(queued(), **{unset: None})  # type: ignore[arg-type]

    with pytest.raises(FormatsUnset):
        BEGINNINGS[event](image)


def test_the_status_is_refused_before_the_formats() -> None:
    """An image that takes no data now is refused for that, whatever its formats."""
    with pytest.raises(InvalidTransition):
        BEGINNINGS[Event.UPLOAD_BEGAN](replace(active(), disk_format=None))


def test_data_that_comes_claims_the_image_and_says_where_its_bytes_go() -> None:
    """From the first moment the image knows its writer and their key; staged bytes are no data."""
    for image, locations, staged_at in (
        (saving(), (location(),), None),
        (uploading(), (), location()),
    ):
        assert (image.claim, image.locations, image.staged) == (claim(), locations, staged_at)


def test_an_import_waits_for_its_staging() -> None:
    """While the staging still runs, the import is refused."""
    with pytest.raises(InvalidTransition):
        begin_import(task())(uploading())


def test_an_attempt_picks_up_the_task() -> None:
    """A worker claims the image and counts as one attempt."""
    image = attempting()

    assert image.task is not None
    assert (image.task.status, image.task.attempts) == (TaskStatus.PROCESSING, 1)
    assert image.claim == claim()
    assert [where.key for where in image.locations] == ["second"]


@pytest.mark.parametrize(
    "image", [queued(), active(), replace(importing(), task=None), attempting()]
)
def test_without_a_waiting_task_nothing_is_attempted(image: Image) -> None:
    """A worker that comes for an image without work, or as the second one, is refused."""
    with pytest.raises(InvalidTransition):
        begin_attempt(image, claim(2))


@pytest.mark.parametrize(
    ("image", "held"),
    [
        (saving(), {"first": 5000}),
        (uploading(), {"first": 5000}),
        (attempting(), {"first": 100, "second": 5000}),
    ],
)
def test_reserving_more(image: Image, held: dict[str, int]) -> None:
    """It is reserved for what is being written, and not for what was staged before."""
    more = reserve(5000)(image, claim())

    assert {key: where.size_bytes for key, where in more.held.items()} == held


def test_stored_data_makes_an_image_active() -> None:
    """What is known of the bytes stays with the image; the claim goes and leaves its mark."""
    image = store_data(content(70))(replace(saving(), last_failure=failure()), claim())

    assert image.status is Status.ACTIVE
    assert image.content == content(70)
    assert image.locations == (location(size_bytes=70),)
    assert image.claim is None
    assert image.finished_by == claim().token
    assert image.last_failure is None


def test_imported_data_ends_its_task_and_lets_go_of_what_was_staged() -> None:
    """A finished attempt leaves the image's own bytes and a task that succeeded."""
    image = store_data(content(70))(attempting(), claim())

    assert image.status is Status.ACTIVE
    assert image.staged is None
    assert image.task is not None
    assert image.task.status is TaskStatus.SUCCESS
    assert [where.key for where in image.locations] == ["second"]


def test_an_upload_leaves_the_task_of_an_earlier_import_alone() -> None:
    """An upload after a failed import does not turn that failure into a success."""
    failed = give_back(claim(), REASON, final=True)(replace(attempting(), staged=None))
    image = store_data(content())(begin_upload(location("third"))(failed, claim()), claim())

    assert image.task == failed.task
    assert image.task is not None
    assert image.task.status is TaskStatus.FAILURE


def test_staged_data_waits_for_its_import() -> None:
    """Once the staging has ended, the image has no claim, and is still uploading."""
    image = stage_data(content(70))(uploading(), claim())

    assert image.status is Status.UPLOADING
    assert image.staged == location(size_bytes=70)
    assert image.claim is None
    assert image.finished_by == claim().token


@pytest.mark.parametrize("change", [reserve(1), stage_data(content()), store_data(content())])
@pytest.mark.parametrize("image", [queued(), saving(), uploading(), active()])
def test_only_the_holder_goes_on(change: Callable[[Image, Claim], Image], image: Image) -> None:
    """Without its claim, a worker changes nothing any more."""
    with pytest.raises(ClaimLost):
        change(image, claim(2))


def test_a_clone_has_the_same_bytes() -> None:
    """A clone is active at once, in the same places, with the same digests."""
    image = share_data(active())(replace(queued("clone"), last_failure=failure()))

    assert image.status is Status.ACTIVE
    assert image.locations == active().locations
    assert image.content == content()
    assert image.last_failure is None


@pytest.mark.parametrize("status", [status for status in Status if status != "queued"])
def test_only_a_queued_image_becomes_a_clone(status: Status) -> None:
    """Data that is there is never replaced."""
    with pytest.raises(InvalidTransition):
        share_data(active())(in_status(status))


@pytest.mark.parametrize(
    ("image", "phase"),
    [
        (saving(), "upload"),
        (uploading(), "staging"),
        (replace(attempting(), staged=None), "import"),
    ],
)
def test_work_that_failed_leaves_a_clean_image(image: Image, phase: str) -> None:
    """Whatever was under way: queued again, without data, and it says why."""
    back = give_back(claim(), "no room", final=True)(image)

    assert back.status is Status.QUEUED
    assert back.held == {}
    assert back.claim is None
    assert back.content is None
    assert back.last_failure == failure(phase, "no room")


def test_a_failed_upload_may_kill_its_image() -> None:
    """Where so configured, a failed upload is the image's end."""
    killed = give_back(claim(), REASON, final=True, kill=True)(saving())

    assert killed.status is Status.KILLED
    assert killed.held == {}


@pytest.mark.parametrize("image", [uploading(), replace(attempting(), staged=None)])
def test_only_uploads_kill(image: Image) -> None:
    """A failed staging or import leaves a queued image, also where failed uploads kill."""
    back = give_back(claim(), REASON, final=True, kill=True)(image)

    assert back.status is Status.QUEUED


def test_a_lost_attempt_leaves_the_task_for_the_next_worker() -> None:
    """What was staged stays, and what the lost worker wrote goes."""
    back = give_back(claim(), REASON, final=False)(attempting())

    assert back.status is Status.IMPORTING
    assert back.task is not None
    assert back.task.status is TaskStatus.PENDING
    assert back.claim is None
    assert back.locations == ()
    assert back.staged == location()
    assert back.last_failure is None


def test_the_last_lost_attempt_ends_the_import() -> None:
    """When no attempt is left, the task has failed; what was staged waits for another import."""
    image = attempting()
    assert image.task is not None
    image = replace(image, task=replace(image.task, attempts=image.task.max_attempts))

    back = give_back(claim(), REASON, final=False)(image)

    assert back.status is Status.UPLOADING
    assert back.task is not None
    assert back.task.status is TaskStatus.FAILURE
    assert (back.claim, back.staged, back.locations) == (None, image.staged, ())


def test_a_final_failure_ends_the_import_at_once() -> None:
    """An attempt whose failure would come again is not repeated."""
    back = give_back(claim(), "not an image", final=True)(attempting())

    assert back.task is not None
    assert back.task.message == "not an image"
    assert back.status is Status.UPLOADING
    assert back.last_failure == failure("import", "not an image")


def test_an_import_that_failed_is_asked_for_again() -> None:
    """What was staged is still there, and becomes the data."""
    back = without_ended_task(give_back(claim(), REASON, final=True)(attempting()))

    again = attempt_at(location("third"))(begin_import(task("t2"))(back), claim(2))

    assert again.staged == location()
    assert store_data(content())(again, claim(2)).status is Status.ACTIVE


def test_other_data_is_staged_on_purpose() -> None:
    """Only with the word for it, and never while some is being sent."""
    waiting = staged()

    for image, replaces in ((waiting, False), (uploading(), True)):
        with pytest.raises(InvalidTransition):
            begin_staging(location("second"), replaces=replaces)(image, claim(2))
    replaced = begin_staging(location("second"), replaces=True)(waiting, claim(2))
    assert (replaced.status, replaced.claim) == (Status.UPLOADING, claim(2))
    assert replaced.held.keys() == {"second"}


@pytest.mark.parametrize("image", [queued(), saving(), active(), importing()])
def test_only_a_standing_claim_is_given_back(image: Image) -> None:
    """Work that was taken over or finished is left alone."""
    with pytest.raises(ClaimLost):
        give_back(claim(2), REASON, final=False)(image)


def test_a_task_that_cannot_begin_ends() -> None:
    """Where no worker may begin, the task fails, and so does the image's import."""
    refused = change_task(lambda task: cancel(task, "no room"))(importing())

    assert refused.status is Status.QUEUED
    assert refused.task is not None
    assert refused.task.status is TaskStatus.FAILURE
    assert refused.last_failure == failure("import", "no room")


def test_a_cancelled_task_takes_the_claim_and_the_bytes_with_it() -> None:
    """Its worker has lost it."""
    cancelled = change_task(lambda task: cancel(task, "enough"))(attempting())

    assert (cancelled.status, cancelled.claim) == (Status.UPLOADING, None)
    assert cancelled.held == {"first": location()}
    with pytest.raises(ClaimLost):
        store_data(content())(cancelled, claim())


def test_only_the_task_that_is_there_is_changed() -> None:
    """An image that is not importing has none; and what changes nothing leaves the very image."""
    image = importing()

    assert change_task(lambda task: task)(image) is image
    with pytest.raises(ClaimLost):
        change_task(lambda task: cancel(task, "enough"))(queued())


# drafts: what a task makes


def test_a_draft_waits_for_its_task() -> None:
    """It is importing from its first moment, and its task knows that it writes it."""
    image = draft()

    assert (image.status, image.draft) == (Status.IMPORTING, True)
    assert image.task is not None
    assert image.task.writes == image.id


@pytest.mark.parametrize("unset", ["disk_format", "container_format"])
def test_a_draft_needs_both_formats(unset: str) -> None:
    """As everything that is to take data."""
    image = replace(queued(), **{unset: None})  # type: ignore[arg-type]

    with pytest.raises(FormatsUnset):
        begin_draft(image, task())


def test_the_success_of_its_task_makes_the_image() -> None:
    """One change: the data, the task's end, and that the image is there."""
    made = store_data(content(), {"image_id": "i", "more": 1})(drafting(), claim())

    assert (made.status, made.draft, made.content) == (Status.ACTIVE, False, content())
    assert made.task is not None
    assert (made.task.status, made.task.image_id) == (TaskStatus.SUCCESS, made.id)
    assert made.task.result == {"image_id": "i", "more": 1}


def test_a_clone_is_made_by_sharing() -> None:
    """The same without any bytes of its own."""
    made = share_to_finish(active(queued("source")))(drafting(), claim())

    assert (made.status, made.draft) == (Status.ACTIVE, False)
    assert (made.locations, made.content) == (active().locations, content())
    assert made.finished_by == claim().token
    with pytest.raises(ClaimLost):
        share_to_finish(active())(drafting(), claim(2))
    with pytest.raises(InvalidTransition):
        share_to_finish(queued())(drafting(), claim())


def test_a_draft_whose_task_failed_never_was() -> None:
    """It is deleted at once; only its task keeps the reason."""
    failed = give_back(claim(), "not an image", final=True)(drafting())

    assert (failed.status, failed.draft, failed.held) == (Status.DELETED, True, {})
    assert failed.last_failure is None
    assert failed.task is not None
    assert failed.task.message == "not an image"


def test_a_worker_stopped_in_good_order_has_not_tried() -> None:
    """The attempt does not count, and the draft waits for the next one."""
    back = give_back(claim(), REASON, final=False, counts=False)(drafting())

    assert (back.status, back.claim, back.locations) == (Status.IMPORTING, None, ())
    assert back.task is not None
    assert (back.task.status, back.task.attempts) == (TaskStatus.PENDING, 0)


def test_an_attempt_may_begin_to_write_again() -> None:
    """Under another key; what it wrote before is let go."""
    again = write_to(location("third"))(drafting(), claim())

    assert [where.key for where in again.locations] == ["third"]
    with pytest.raises(ClaimLost):
        write_to(location("third"))(drafting(), claim(2))


def drafting() -> Image:
    """A draft whose task a worker has picked up, and writes."""
    return attempt_at(location())(draft(), claim())


def test_abandoned_staged_bytes_are_deleted() -> None:
    """The image is queued again, and holds nothing; not under a writer, nor after a change."""
    waiting = staged()

    image = unstage(waiting)(waiting)

    assert image.status is Status.QUEUED
    assert image.held == {}
    for touched in (uploading(), replace(waiting, version=waiting.version + 1)):
        with pytest.raises(InvalidTransition):
            unstage(waiting)(touched)
    with pytest.raises(InvalidTransition):
        unstage(uploading())(uploading())


@pytest.mark.parametrize("status", list(Status))
def test_a_writer_is_told_that_his_image_was_deleted(status: Status) -> None:
    """Exactly the statuses that users do not see count as deleted."""
    if status in {"pending_delete", "deleted"}:
        with pytest.raises(ImageDeleted):
            require_undeleted(in_status(status))
    else:
        require_undeleted(in_status(status))
