"""What is published is what was judged."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.declared_formats import unless_formats_changed
from imaged.core.disk_format import CONTAINER_FORMATS, DISK_FORMATS
from imaged.core.errors import ClaimLost, FormatsChanged
from imaged.core.image import Formats
from imaged.core.lifecycle import Status
from imaged.core.uploading import begin_attempt, share_data, share_to_finish, store_data
from support.sample_images import (
    active,
    attempt_at,
    claim,
    content,
    draft,
    importing,
    location,
    queued,
    saving,
)

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


def test_who_lost_the_claim_is_told_so() -> None:
    """And not of formats that are no concern of his any more."""
    with pytest.raises(ClaimLost):
        unless_formats_changed(Formats("qcow2", "bare"), store_data(content()))(saving(), claim(2))
