"""What an image holds, and what it is charged for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaged.core.image import Image
from support.sample_images import (
    active,
    expired,
    importing,
    location,
    pending_delete,
    queued,
    saving,
    uploading,
)

STAGED = importing(replace(uploading(), claim=None))

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
