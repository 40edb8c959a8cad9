"""Whether a body is the whole file whose upload broke off before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imaged.core.broken_upload import (
    LONGEST_PERIOD_BYTES,
    RepetitionDetector,
    RetryDigest,
    begin_body,
    forget_broken,
    note_received,
    replacing,
    require_same_length,
    without_broken_upload,
)
from imaged.core.deletion import delete
from imaged.core.errors import ClaimLost, InvalidTransition, RetryMismatch
from imaged.core.growth import reserve
from imaged.core.image import BrokenUpload, Change, ClaimedChange, Location
from imaged.core.uploading import (
    begin_staging,
    begin_upload,
    give_back,
    share_data,
    stage_data,
    store_data,
)
from support.sample_images import (
    REASON,
    active,
    claim,
    content,
    location,
    queued,
    saving,
    uploading,
)

EMPTY = hashlib.md5(b"", usedforsecurity=False).hexdigest()


def broken(data: bytes = b"abc", announced_bytes: int | None = None) -> BrokenUpload:
    """What is remembered after these bytes had come."""
    checksum = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return BrokenUpload(announced_bytes, len(data), checksum)


# before a byte is read


@pytest.mark.parametrize(
    ("before", "announced_bytes", "remembered"),
    [
        (None, None, BrokenUpload(None, 0, EMPTY)),
        (None, 9, BrokenUpload(9, 0, EMPTY)),
        (broken(), None, broken()),
        (broken(), 3, broken()),
        (broken(), 9, broken()),
        (broken(announced_bytes=9), None, broken(announced_bytes=9)),
        (broken(announced_bytes=9), 9, broken(announced_bytes=9)),
    ],
)
def test_the_facts_remembered_from_the_beginning(
    before: BrokenUpload | None, announced_bytes: int | None, remembered: BrokenUpload
) -> None:
    """The first bytes that were ever sent are the truth; a new body begins without any."""
    assert begin_body(before, announced_bytes) == remembered


@pytest.mark.parametrize(
    ("before", "announced_bytes"),
    [
        (broken(announced_bytes=9), 6),
        (broken(announced_bytes=9), 10),
        (broken(b"", announced_bytes=9), 8),
        (broken(), 2),
        (broken(), 0),
    ],
)
def test_a_length_that_cannot_be_right_is_refused_at_once(
    before: BrokenUpload, announced_bytes: int
) -> None:
    """Another one than was announced, or less than had come; and the sentence has the remedy."""
    with pytest.raises(RetryMismatch, match="X-Imaged-Replace: true"):
        begin_body(before, announced_bytes)


@pytest.mark.parametrize("begin", [begin_upload, begin_staging])
def test_uploads_and_stagings_begin_so(
    begin: Callable[[Location, int | None], ClaimedChange],
) -> None:
    """Both look at what is remembered, and both remember what was announced."""
    begun = begin(location(), 9)(queued(), claim())
    assert begun.broken_upload == BrokenUpload(9, 0, EMPTY)

    with pytest.raises(RetryMismatch):
        begin(location(), 8)(replace(queued(), broken_upload=begun.broken_upload), claim())


def test_another_file_on_purpose() -> None:
    """What is remembered is not asked; it is the new file that is remembered."""
    image = replace(queued(), broken_upload=broken(announced_bytes=9))

    begun = replacing(begin_upload(location(), 5))(image, claim())

    assert begun.broken_upload == BrokenUpload(5, 0, EMPTY)


def test_nothing_is_remembered_where_that_is_switched_off() -> None:
    """Neither asked nor kept."""
    image = replace(queued(), broken_upload=broken(announced_bytes=9))

    assert without_broken_upload(begin_upload(location(), 5))(image, claim()).broken_upload is None


# as it comes, and at its end


@pytest.mark.parametrize(
    ("before", "size_bytes"),
    [(broken(), 2), (broken(announced_bytes=9), 8), (broken(announced_bytes=9), 10)],
)
def test_a_body_of_another_length_is_refused(before: BrokenUpload, size_bytes: int) -> None:
    """Less than had come, or not what was announced."""
    with pytest.raises(RetryMismatch):
        require_same_length(before, size_bytes)


REPEATING = [bytes(800), b"AB" * 400, (b"a piece of 25 bytes, again" * 32)[:800], b"x"]


@pytest.mark.parametrize("came", REPEATING, ids=["zeros", "two", "odd", "one byte"])
@pytest.mark.parametrize("is_announced", [True, False])
def test_repeated_data_proves_nothing_without_a_length(came: bytes, *, is_announced: bool) -> None:
    """The rest may begin like the whole: it is refused, again and again, and so is what is not as
    long as both together.
    """
    file = came * 3 + b"end"
    rest = file[len(came) :]
    before = broken(came)
    for body in (rest, rest, file[:-1], file + b"!"):
        digest, failure = sent(before, body, len(body) if is_announced else None)
        assert failure is not None
        assert "repeat themselves" in str(failure)
        before = digest.remembered(len(body), "") or before
        assert before == replace(broken(came), refused_bytes=len(rest))

    digest, failure = sent(before, file, len(file) if is_announced else None)
    assert failure is None
    assert sent(broken(came, len(file)), file, None)[1] is None


def sent(
    before: BrokenUpload, body: bytes, announced_bytes: int | None, cuts: int = 7
) -> tuple[RetryDigest, RetryMismatch | None]:
    """A body that came to its end, however it is cut, and why it was refused."""
    digest = RetryDigest(begin_body(before, announced_bytes), announced_bytes)
    try:
        for start in range(0, len(body), cuts):
            digest.feed(body[start : start + cuts])
        digest.require_whole(len(body))
    except RetryMismatch as failure:
        return digest, failure
    return digest, None


def test_a_doubtful_body_that_breaks_off_too_changes_nothing() -> None:
    """It may be the rest: what follows in it is not what follows in the file."""
    before = broken(bytes(800))
    digest = RetryDigest(begin_body(before, None))

    digest.feed(bytes(800))
    digest.feed(b"more")

    assert digest.remembered(804, digest.hexdigest()) == before


def finishes(before: BrokenUpload, body: bytes, announced_bytes: int | None, cuts: int) -> bool:
    """Whether a body becomes the data."""
    try:
        return sent(before, body, announced_bytes, cuts)[1] is None
    except RetryMismatch:  # at its beginning
        return False


FILES = st.binary(min_size=1, max_size=40)


def is_repetition(text: bytes) -> bool:
    """Whether it is a piece of at most half of it again and again; one byte is."""
    return len(text) == 1 or any(
        text[period:] == text[:-period] for period in range(1, len(text) // 2 + 1)
    )


@given(FILES, st.integers(0, 40), st.booleans(), st.booleans(), st.integers(1, 9))
def test_the_whole_file_always_finishes(
    file: bytes, came: int, first: bool, second: bool, cuts: int
) -> None:
    """Wherever it had broken off, announced or in chunks; but what repeats needs a length."""
    prefix, size = file[:came], len(file)
    assume(first or not prefix or not is_repetition(prefix))

    assert finishes(broken(prefix, size if first else None), file, size if second else None, cuts)


@given(FILES, st.integers(0, 40), st.integers(1, 40), st.booleans(), st.booleans())
def test_the_rest_never_finishes(
    file: bytes, came: int, sent: int, first: bool, second: bool
) -> None:
    """The client had sent as much as had come, or more; both lengths may be announced, or none.

    Only what begins like itself, without repeating itself, can deceive without a length.
    """
    came = min(came, sent)
    prefix, rest = file[:came], file[sent:]
    assume(first or (prefix and (is_repetition(prefix) or not rest.startswith(prefix))))

    before = broken(prefix, len(file) if first else None)
    assert not finishes(before, rest, len(rest) if second else None, 3)


@given(FILES, FILES, st.integers(1, 9))
def test_more_is_remembered_only_of_a_body_that_began_so(
    prefix: bytes, body: bytes, cuts: int
) -> None:
    """A wrong rest never becomes the truth."""
    assume(not is_repetition(prefix))
    before = broken(prefix)
    digest = RetryDigest(before)
    try:
        for start in range(0, len(body), cuts):
            digest.feed(body[start : start + cuts])
    except RetryMismatch:
        assert digest.remembered(len(prefix), "") == before
    else:
        remembered = digest.remembered(len(body), digest.hexdigest())
        assert remembered == (broken(body) if body.startswith(prefix) else before)


def test_an_older_count_does_not_shorten_the_record() -> None:
    """The bytes are counted after they were compared, in another thread."""
    digest = RetryDigest(broken(b"abcdef"))

    digest.feed(b"abcdefg")

    assert digest.remembered(3, broken(b"abc").checksum) == broken(b"abcdef")


def test_a_length_that_was_wrong_is_not_remembered() -> None:
    """What came is; the next body has the length that it has."""
    digest = RetryDigest(BrokenUpload(9, 0, EMPTY))
    digest.feed(b"abc")

    digest.distrust_length()

    assert digest.remembered(3, digest.hexdigest()) == broken(b"abc")


def test_a_file_that_was_judged_is_not_remembered() -> None:
    """It came whole and was refused: what is sent next is another one."""
    digest = RetryDigest(BrokenUpload(3, 0, EMPTY))
    digest.feed(b"abc")

    digest.reject()

    assert digest.remembered(3, digest.hexdigest()) is None


# how long it stays


def test_it_is_noted_while_the_body_comes() -> None:
    """With what is reserved, or alone; by the holder of the claim only."""
    for change in (reserve(70, broken()), note_received(broken())):
        assert change(saving(), claim()).broken_upload == broken()
        with pytest.raises(ClaimLost):
            change(saving(), claim(2))
    assert note_received(broken())(saving(), claim()).charge_bytes == saving().charge_bytes


def test_entering_queued_keeps_it() -> None:
    """A failure, a lost lease."""
    for image in (saving(), uploading()):
        remembering = replace(image, broken_upload=broken())
        assert give_back(claim(), REASON, final=True)(remembering).broken_upload == broken()


@pytest.mark.parametrize(
    "change",
    [
        lambda image: store_data(content())(replace(saving(image)), claim()),
        lambda image: stage_data(content())(uploading(image), claim()),
        share_data(active()),
        delete(delayed=False),
    ],
)
def test_success_and_deletion_end_it(change: Change) -> None:
    """Nothing is remembered of an image that has its data, or is gone."""
    assert change(replace(queued(), broken_upload=broken())).broken_upload is None


def test_it_is_forgotten_only_as_it_was_seen() -> None:
    """A new attempt since then, under way or over, has made it young again."""
    seen = replace(queued(), broken_upload=broken())

    assert forget_broken(seen)(seen).broken_upload is None
    for changed in (replace(seen, version=1), replace(seen, claim=claim())):
        with pytest.raises(InvalidTransition):
            forget_broken(seen)(changed)


PIECES = st.binary(min_size=1, max_size=30)


def repeats(text: bytes, cuts: int = 1000) -> bool:
    """What is said of a text that comes in parts."""
    repetition = RepetitionDetector()
    for start in range(0, len(text), cuts):
        repetition.feed(memoryview(text)[start : start + cuts])
    return repetition.is_repetitive


@pytest.mark.parametrize("period", [1, 2, 3, 64, 512, 4095, 4096])
@pytest.mark.parametrize("cuts", [1, 999, 100_000])
def test_repeated_data(period: int, cuts: int) -> None:
    """Periods of any length up to the longest, however the bytes are cut; whole periods or not."""
    piece = bytes((number * number + number // 256) % 251 + 1 for number in range(period))
    text = piece * (30_000 // period)

    assert repeats(text, cuts)
    assert repeats(text[:-1], cuts)
    changed = bytearray(text)
    changed[-1] ^= 1
    assert not repeats(bytes(changed), cuts)


def test_longer_periods_are_not_looked_for() -> None:
    """A disk of several copies of a large file is no repetition here."""
    piece = bytes((number * 7 + number // 256) % 251 for number in range(LONGEST_PERIOD_BYTES + 1))
    assert not repeats(piece * 5)


@given(PIECES, st.integers(2, 9), st.integers(1, 50))
def test_a_piece_several_times(piece: bytes, times: int, cuts: int) -> None:
    """Also where all of it is short."""
    assert repeats(piece * times, cuts)


@given(st.binary(max_size=60), st.integers(1, 50))
def test_it_is_what_it_says(text: bytes, cuts: int) -> None:
    """Against the plain definition."""
    shifts = range(1, len(text) // 2 + 1)
    plain = len(text) <= 1 or any(text[shift:] == text[:-shift] for shift in shifts)

    assert repeats(text, cuts) is plain
