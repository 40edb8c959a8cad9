"""Rows of the ledger: doomed for good, taken for a while, put off with growing delays."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.blob import (
    Blob,
    BlobState,
    doom,
    image_id_of_key,
    is_key,
    make_key,
    reschedule,
    start_deletion,
)
from support.sample_images import NOW

BLOB = Blob("key", "local", 100)
DOOMED = doom(BLOB, NOW, awaited_by="image")


def test_a_new_row_is_being_written_for_one_image() -> None:
    """A row begins before its first byte, and is needed."""
    assert BLOB.state is BlobState.WRITING
    assert BLOB.holders == 1
    assert BLOB.due_at is None


def test_doom_leaves_no_holder() -> None:
    """Doomed bytes are due at a moment, and no image holds them."""
    assert DOOMED.state is BlobState.DOOMED
    assert DOOMED.holders == 0
    assert DOOMED.due_at == NOW
    assert DOOMED.awaited_by == "image"


def test_a_taken_blob_is_due_again_later() -> None:
    """Taking a blob hides it from other scrubbers for a while, and changes nothing else."""
    taken = start_deletion(DOOMED, NOW, timedelta(minutes=5))

    assert taken.due_at == NOW + timedelta(minutes=5)
    assert start_deletion(taken, NOW, timedelta(0)) == DOOMED


def test_failed_deletes_are_put_off() -> None:
    """The error stays with the row, and the next turn comes after the delay it needs."""
    once = reschedule(DOOMED, NOW, "the disk is gone")
    twice = reschedule(once, NOW, "the disk is still gone")

    assert (once.failures, once.due_at) == (1, NOW + timedelta(seconds=10))
    assert (twice.failures, twice.due_at) == (2, NOW + timedelta(seconds=20))
    assert twice.last_error == "the disk is still gone"
    assert twice.state is BlobState.DOOMED


IMAGE_ID = "8f1c2f0e-6f43-4d3a-9d6e-0a3f6a2c5b10"
KEY = "8f/8f1c2f0e-6f43-4d3a-9d6e-0a3f6a2c5b10.00000000000000000000000000000007"


def test_a_key_is_made_of_the_image_and_the_attempt() -> None:
    """Folder, image, attempt; always in lower case."""
    assert make_key(IMAGE_ID, UUID(int=7)) == KEY
    assert make_key(IMAGE_ID.upper(), UUID(int=7)) == KEY


@given(st.uuids(), st.uuids())
def test_every_key_is_one_and_leads_back_to_its_image(image: UUID, attempt: UUID) -> None:
    """What is made is recognised."""
    key = make_key(str(image), attempt)

    assert is_key(key)
    assert image_id_of_key(key) == str(image)


def test_attempts_never_share_a_key() -> None:
    """Another attempt has another key."""
    assert make_key(IMAGE_ID, uuid4()) != make_key(IMAGE_ID, uuid4())


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.upper(),
        KEY + "0",
        KEY[:-1],
        KEY[3:],
        "8e" + KEY[2:],
        "/" + KEY,
        "../" + KEY,
        KEY + "\n",
        KEY.replace(".", "/"),
        KEY.replace("-", ""),
        ".tmp/" + KEY[3:],
        "lost+found",
    ],
)
def test_anything_else_is_no_key(text: str) -> None:
    """Files of others are left alone, and are of no image."""
    assert not is_key(text)
    assert image_id_of_key(text) is None
