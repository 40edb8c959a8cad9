"""What an image holds, and what it is charged for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS
from imaged.core.errors import ClaimLost, FormatsChanged
from imaged.core.image import Formats, Image, unless_formats_changed
from imaged.core.lifecycle import Status
from imaged.core.uploading import begin_attempt, share_data, share_to_finish, store_data
from support.sample_images import (
    active,
    attempt_at,
    claim,
    content,
    draft,
    expired,
    importing,
    location,
    pending_delete,
    queued,
    saving,
    staged,
    uploading,
)

STAGED = importing(staged())

HELD = [
    (queued(), set(), 0),
    (saving(), {"first"}, 100),
    (uploading(), {"first"}, 100),
    (STAGED, {"first"}, 100),
    (replace(STAGED, locations=(location("second", 50),)), {"first", "second"}, 100),
    (replace(STAGED, locations=(location("second", 150),)), {"first", "second"}, 150),
    (active(), {"first"}, 100),
    (pending_delete(), {"first"}, 100),
    (expired(), set(), 0),
]


@pytest.mark.parametrize(("image", "keys", "charge_bytes"), HELD)
def test_an_image_holds_and_is_charged_for_its_bytes(
    image: Image, keys: set[str], charge_bytes: int
) -> None:
    """Written, staged and partial bytes are held, until the image is emptied or expired. What is
    staged and what becomes of it are the same data, and count once.
    """
    assert image.held.keys() == keys
    assert image.charge_bytes == charge_bytes


def test_only_a_waiting_image_expires() -> None:
    """An image is expired when it waits to be gone and cannot be restored."""
    assert expired().is_expired
    assert not pending_delete().is_expired
    assert not active().is_expired


FORMATS = st.builds(
    Formats,
    st.none() | st.sampled_from(DISK_FORMATS),
    st.none() | st.sampled_from(CONTAINER_FORMATS),
)


@given(FORMATS, FORMATS)
def test_bytes_become_data_only_as_what_they_were_judged_as(judged: Formats, said: Formats) -> None:
    """Whichever of both was patched meanwhile, and to whatever; also to nothing."""
    attempt = attempt_at(location("second"))(importing(), claim())
    image = replace(attempt, disk_format=said.disk, container_format=said.container)
    finish = unless_formats_changed(judged, store_data(content()))

    if judged == said:
        assert finish(image, claim()).status is Status.ACTIVE
    else:
        with pytest.raises(FormatsChanged, match="judged as"):
            finish(image, claim())


@given(FORMATS)
def test_shared_bytes_stay_what_they_are(said: Formats) -> None:
    """A clone says of the bytes what its source says."""
    source = active()
    waiting = replace(queued("c"), disk_format=said.disk, container_format=said.container)
    new_task_image = begin_attempt(
        replace(draft("d"), disk_format=said.disk, container_format=said.container), claim()
    )

    if said == source.formats:
        assert share_data(source)(waiting).status is Status.ACTIVE
        assert share_to_finish(source)(new_task_image, claim()).status is Status.ACTIVE
    else:
        with pytest.raises(FormatsChanged):
            share_data(source)(waiting)
        with pytest.raises(FormatsChanged):
            share_to_finish(source)(new_task_image, claim())


def test_a_lost_claim_is_an_error() -> None:
    """Instead of an error about formats."""
    with pytest.raises(ClaimLost):
        unless_formats_changed(Formats("qcow2", "bare"), store_data(content()))(saving(), claim(2))
