"""What follows from a change: rules 1 to 5 of the ledger, each by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core.blob import Blob, BlobState, doom
from imaged.core.deletion import delete, expire, restore
from imaged.core.errors import BlobGone
from imaged.core.growth import reserve
from imaged.core.image import Image
from imaged.core.ledger import (
    StrayLimits,
    block_checksums_of,
    created,
    doomed_stray,
    settle,
    settle_scrubbed,
    stamp,
    touched,
    without_block_checksums,
)
from imaged.core.lifecycle import Status
from imaged.core.uploading import (
    begin_import,
    give_back,
    share_data,
    stage_data,
    store_data,
)
from support.sample_images import (
    LEASE,
    NOW,
    REASON,
    active,
    attempt_at,
    claim,
    content,
    failure,
    importing,
    location,
    pending_delete,
    queued,
    saving,
    staged,
    task,
    uploading,
)
from support.settings import configured

WRITING = Blob("first", "local", 100)
KEPT = replace(WRITING, state=BlobState.KEPT)
SHARED = replace(KEPT, holders=2)
DOOMED = doom(KEPT, NOW, awaited_by=None)
LOST = doom(WRITING, NOW + LEASE, awaited_by=None)
SECOND = replace(WRITING, key="second")
LATER = NOW + timedelta(hours=1)


def attempting() -> Image:
    """An import whose worker writes to a second key."""
    return attempt_at(location("second"))(importing(staged()), claim())


def clone() -> Image:
    """Another image with the same bytes."""
    return share_data(active())(queued("clone"))


def _settle(before: Image, after: Image, *rows: Blob) -> tuple[Image, dict[str, Blob]]:
    image, changed = settle(before, after, {blob.key: blob for blob in rows}, NOW)
    return image, {blob.key: blob for blob in changed}


#: Before and after a change, the rows of its blobs, and what becomes of them.
ROWS: Mapping[str, tuple[Image, Image, list[Blob], list[Blob]]] = {
    # rule 1: an image holds its bytes until it is emptied or expired
    "written before the first byte": (queued(), saving(), [], [WRITING]),
    "written before the first staged byte": (queued(), uploading(), [], [WRITING]),
    "finished bytes are kept at their exact size": (
        saving(),
        store_data(content(70))(saving(), claim()),
        [WRITING],
        [replace(KEPT, size_bytes=70)],
    ),
    "staged bytes are kept": (uploading(), staged(), [WRITING], [KEPT]),
    "a reservation grows": (
        saving(),
        reserve(5000)(saving(), claim()),
        [WRITING],
        [replace(WRITING, size_bytes=5000)],
    ),
    "a finished import keeps its bytes, and dooms what was staged": (
        attempting(),
        store_data(content(70))(attempting(), claim()),
        [KEPT, SECOND],
        [DOOMED, replace(KEPT, key="second", size_bytes=70)],
    ),
    # rule 2: bytes without a holder are doomed, and doomed is final
    "a deleted image": (active(), delete(delayed=False)(active()), [KEPT], [DOOMED]),
    "a clone holds the same bytes": (queued("clone"), clone(), [KEPT], [SHARED]),
    "shared bytes live on": (active(), delete(delayed=False)(active()), [SHARED], [KEPT]),
    "nothing revives doomed bytes": (uploading(), staged(), [DOOMED], [DOOMED]),
    # rule 3: bytes whose writer may still be writing are due when its lease must be over
    "deleted under its writer": (saving(), delete(delayed=False)(saving()), [WRITING], [LOST]),
    "given back": (saving(), give_back(claim(), REASON, final=False)(saving()), [WRITING], [LOST]),
    "killed": (
        saving(),
        give_back(claim(), REASON, final=True, kill=True)(saving()),
        [WRITING],
        [LOST],
    ),
    "finished bytes are due at once, also under a claim": (
        attempting(),
        delete(delayed=False)(attempting()),
        [KEPT, SECOND],
        [DOOMED, replace(LOST, key="second")],
    ),
    "a lost attempt leaves what was staged": (
        attempting(),
        give_back(claim(), REASON, final=False)(attempting()),
        [KEPT, SECOND],
        [KEPT, replace(LOST, key="second")],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_follow_from_a_change(name: str) -> None:
    """Every row that the change touches, and no other."""
    before, after, rows, expected = ROWS[name]

    assert _settle(before, after, *rows)[1] == {blob.key: blob for blob in expected}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (active(), pending_delete()),
        (pending_delete(), restore(pending_delete())),
        (staged(), begin_import(task())(staged())),
        (active(), replace(active(), name="new")),
        (active(), replace(active(), owner="p2")),
    ],
)
def test_some_changes_touch_no_bytes(before: Image, after: Image) -> None:
    """Deleting with a delay, restoring, importing what is staged, naming, giving away."""
    _, rows = _settle(before, after)

    assert touched(before, after) == []
    assert rows == {}


def test_rows_are_locked_in_one_order() -> None:
    """All keys before and after, sorted, so that no two wait for each other."""
    after = store_data(content())(attempting(), claim())

    assert touched(attempting(), after) == ["first", "second"]


def test_a_claim_that_ends_touches_its_bytes() -> None:
    """The place of the bytes is the same, but they are not being written any more."""
    assert touched(uploading(), staged()) == ["first"]


@pytest.mark.parametrize("rows", [(), (WRITING,), (DOOMED,)])
def test_only_kept_bytes_are_shared(rows: Sequence[Blob]) -> None:
    """Bytes that are gone, unfinished or doomed cannot be referred to."""
    with pytest.raises(BlobGone, match="first"):
        _settle(queued("clone"), clone(), *rows)


# rule 4: the record of an expired image goes with its last bytes


def test_an_expired_image_waits_for_its_bytes() -> None:
    """They are doomed, and know whose record goes with them."""
    before = pending_delete()

    image, rows = _settle(before, expire(before)(before), KEPT)

    assert image.status is Status.PENDING_DELETE
    assert image.locations == before.locations
    assert rows == {"first": doom(KEPT, NOW, awaited_by=before.id)}


def test_an_expired_image_does_not_wait_for_the_bytes_of_others() -> None:
    """What a clone holds simply leaves the image, and with the last of it goes the record."""
    before = pending_delete()

    image, rows = _settle(before, expire(before)(before), SHARED)

    assert image.status is Status.DELETED
    assert image.locations == ()
    assert rows == {"first": KEPT}


def test_an_expired_image_waits_only_for_its_own_bytes() -> None:
    """Of two locations the shared one leaves, and the other is waited for."""
    before = replace(pending_delete(), locations=(location("first"), location("second")))

    image, rows = _settle(before, expire(before)(before), SHARED, replace(KEPT, key="second"))

    assert image.status is Status.PENDING_DELETE
    assert image.locations == (location("second"),)
    assert rows["second"].awaited_by == before.id


def test_scrubbed_bytes_take_the_record_along() -> None:
    """The image becomes deleted when its last bytes are gone."""
    before = replace(pending_delete(), deleted_from=None, version=4)

    image = settle_scrubbed(before, "first", LATER)

    assert (image.status, image.since, image.version) == (Status.DELETED, LATER, 5)


def test_a_stray_is_doomed_without_an_owner() -> None:
    """Bytes that the ledger did not know get a row to have them deleted by."""
    assert doomed_stray(location(), LATER) == doom(WRITING, LATER, awaited_by=None)


# what is noted of every change


def test_every_change_is_dated_and_counted() -> None:
    """A change of status says since when; any other leaves that moment alone."""
    before = created(queued(), NOW)
    upload = stamp(before, saving(before), LATER)
    named = stamp(before, replace(before, name="new"), LATER)

    assert (before.created_at, before.updated_at, before.since, before.version) == (*[NOW] * 3, 0)
    assert (upload.created_at, upload.updated_at, upload.since) == (NOW, LATER, LATER)
    assert (named.created_at, named.updated_at, named.since) == (NOW, LATER, NOW)
    assert upload.version == named.version == 1


def test_a_new_failure_is_dated_once() -> None:
    """The catalog's clock says when; a later change does not date it anew."""
    failed = stamp(queued(), replace(queued(), last_failure=failure()), NOW)
    named = stamp(failed, replace(failed, name="new"), LATER)

    assert failed.last_failure == replace(failure(), at=NOW)
    assert named.last_failure == failed.last_failure


# rule 5: the checksums of blocks come with what completes the bytes


def test_checksums_of_blocks_are_those_of_the_bytes_just_written() -> None:
    """Of staged bytes and of an image's; nothing else has any, and the image keeps none."""
    told = replace(content(), block_checksums=b"abcd")
    waiting = stage_data(told)(uploading(), claim())
    stored = store_data(told)(saving(), claim())

    for image in (waiting, stored):
        assert block_checksums_of(image) == {"first": b"abcd"}
        kept = without_block_checksums(image)
        assert block_checksums_of(kept) == {}
        assert kept == image
    for image in (queued(), uploading(), saving(), active(), attempting()):
        assert block_checksums_of(image) == {}
        assert without_block_checksums(image) is image


@pytest.mark.parametrize(
    ("strays", "keys", "may_go"),
    [
        (0, 0, True),
        (0, 10, True),
        (1, 1, False),  # all of it
        (1, 99, False),  # more than the share
        (1, 100, True),
        (5, 100, False),
        (100, 100, False),
        (100, 9_999, False),
        (100, 10_000, True),
        (101, 1_000_000, False),  # within the share, and more than the count
    ],
)
def test_few_of_many_may_go(strays: int, keys: int, *, may_go: bool) -> None:
    """The defaults: 100, and 1 % of what the store holds, both at the same time."""
    assert configured(StrayLimits).allow(strays, keys) is may_go


@given(st.integers(1, 10**6), st.floats(0, 1), st.integers(0, 10**6))
def test_a_whole_store_never_goes(keys: int, max_share: float, max_strays: int) -> None:
    """Whatever the settings allow: where no blob has a row, the catalog is the wrong one."""
    assert not StrayLimits(max_strays=max_strays, max_share=max_share).allow(keys, keys)
