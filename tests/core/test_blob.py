"""Rows of the ledger: doomed for ever, taken for a while, put off with growing delays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from imaged.core.blob import Blob, BlobState, doom, reschedule, retry_delay, start_deletion
from support.sample_images import NOW

BLOB = Blob("key", "local", 100)
DOOMED = doom(BLOB, NOW, awaited_by="image")


def test_a_new_row_is_being_written_for_one_image() -> None:
    """A row begins before its first byte, and somebody needs it."""
    assert BLOB.state is BlobState.WRITING
    assert BLOB.holders == 1
    assert BLOB.due_at is None


def test_doom_leaves_no_holder() -> None:
    """Doomed bytes are due at a moment, and nobody holds them."""
    assert DOOMED.state is BlobState.DOOMED
    assert DOOMED.holders == 0
    assert DOOMED.due_at == NOW
    assert DOOMED.awaited_by == "image"


def test_a_taken_blob_is_due_again_later() -> None:
    """Who takes a blob hides it from the others for a while, and changes nothing else."""
    taken = start_deletion(DOOMED, NOW, timedelta(minutes=5))

    assert taken.due_at == NOW + timedelta(minutes=5)
    assert start_deletion(taken, NOW, timedelta(0)) == DOOMED


def test_what_would_not_go_is_put_off() -> None:
    """The error stays with the row, and the next turn comes after the delay it needs."""
    once = reschedule(DOOMED, NOW, "the disk is gone")
    twice = reschedule(once, NOW, "the disk is still gone")

    assert (once.failures, once.due_at) == (1, NOW + retry_delay(1))
    assert (twice.failures, twice.due_at) == (2, NOW + retry_delay(2))
    assert twice.last_error == "the disk is still gone"
    assert twice.state is BlobState.DOOMED


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(1, 10), (2, 20), (3, 40), (9, 2560), (10, 3600), (17, 3600), (1_000_000, 3600)],
)
def test_patience_doubles_up_to_an_hour(failures: int, seconds: int) -> None:
    """Ten seconds at first, twice as long each time, never more than an hour."""
    assert retry_delay(failures) == timedelta(seconds=seconds)
