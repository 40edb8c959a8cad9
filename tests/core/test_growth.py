"""Who waits for space, and who gives it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imaged.core import ledger
from imaged.core.errors import ClaimLost, QuotaExceeded
from imaged.core.growth import (
    GrowingUpload,
    growing_upload_of,
    may_wait,
    reserve,
    use_up,
)
from imaged.core.image import Change, ClaimedChange, Image
from imaged.core.quota import UNLIMITED, Account, charge
from imaged.core.uploading import begin_staging, begin_upload, give_back, write_to
from support.quotas import limits, usage
from support.sample_images import IMAGE_ID, REASON, claim, importing, location, queued

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


def growing(
    minute: int, reserved: int = 10, ahead: int = 0, *, staging: bool = False
) -> GrowingUpload:
    """Work that began in this minute."""
    return GrowingUpload((NOON + timedelta(minutes=minute), IMAGE_ID), reserved, ahead, staging)


MINE = growing(10)


@pytest.mark.parametrize(
    ("others", "waits"),
    [
        ([], False),
        ([MINE], False),
        ([growing(9)], False),
        ([growing(11)], True),
        ([growing(9), growing(11)], True),
        ([growing(11, reserved=0)], False),
        ([growing(9, ahead=1)], True),
        ([growing(11, ahead=1)], True),
    ],
)
@pytest.mark.rule("quotas.9", "quotas.10", "quotas.11")
def test_who_waits(others: Sequence[GrowingUpload], *, waits: bool) -> None:
    """Older ones wait for younger ones that hold space, all for what was reserved ahead."""
    assert may_wait(MINE, "total", [*others, MINE]) is waits


def test_uploads_of_the_same_moment_are_ordered_by_their_images() -> None:
    """So that two of them never wait for each other."""
    one, other = (GrowingUpload((NOON, name), 10, 0, is_staging=False) for name in "ab")
    assert may_wait(one, "total", [one, other])
    assert not may_wait(other, "total", [one, other])


@pytest.mark.parametrize(
    ("resource", "staging", "waits"),
    [
        ("total", False, True),
        ("total", True, True),
        ("staged", False, False),
        ("staged", True, True),
        ("uploads", True, False),
        ("images", True, False),
    ],
)
def test_only_what_holds_the_resource_is_waited_for(
    resource: str, *, staging: bool, waits: bool
) -> None:
    """An upload frees no staged bytes; numbers of images do not grow while data arrives."""
    assert may_wait(growing(10, staging=True), resource, [growing(11, staging=staging)]) is waits


def made(image: Image, change: Change) -> Image:
    """The image after a change, as a catalog stores it."""
    return ledger.stamp(image, change(image), NOON)


def held(change: ClaimedChange) -> Change:
    """A change by the holder of the claim."""
    return lambda image: change(image, claim())


@pytest.mark.parametrize("begin", [begin_upload, begin_staging])
def test_a_body_of_unknown_length_grows_until_its_work_ends(
    begin: Callable[..., ClaimedChange],
) -> None:
    """One of known length does not: all of it is reserved."""
    image = made(queued(), held(begin(location(size_bytes=0), None)))
    grown = made(image, held(reserve(30, ahead_bytes=20)))
    is_staging = begin is begin_staging
    assert growing_upload_of(grown) == growing(0, 30, 20, staging=is_staging)
    assert growing_upload_of(made(grown, held(use_up))) == growing(0, 30, staging=is_staging)
    ended = made(grown, give_back(claim(), REASON, final=True))
    assert ended.ahead_bytes is None
    assert growing_upload_of(ended) is None

    known = made(queued(), held(begin(location(size_bytes=30), 30)))
    assert growing_upload_of(known) is None
    assert growing_upload_of(made(known, held(reserve(30)))) is None


def test_an_import_grows_if_it_says_so() -> None:
    """A download may have no length; a copy has one."""
    attempting = replace(importing(), claim=claim(), since=NOON)
    grows = made(attempting, held(write_to(location(size_bytes=0), grows=True)))
    assert growing_upload_of(grows) == growing(0, 0)
    assert growing_upload_of(made(grows, held(write_to(location())))) is None


def test_nothing_is_used_up_by_another_claim() -> None:
    """What is not reserved ahead is not written again."""
    image = made(queued(), held(begin_upload(location(size_bytes=0))))
    assert use_up(image, claim()) is image
    with pytest.raises(ClaimLost):
        use_up(image, claim(2))


@dataclass(eq=False)
class Upload:
    """One of a project's; ``size_bytes`` is known to its client alone."""

    size_bytes: int
    is_staging: bool
    age: tuple[datetime, str] | None = None
    received: int = 0
    reserved: int = 0
    ahead: int = 0
    ended: str = ""

    @property
    def seen(self) -> GrowingUpload:
        """What the catalog knows of it."""
        assert self.age is not None
        return GrowingUpload(self.age, self.reserved, self.ahead, self.is_staging)


@dataclass(frozen=True)
class Course:
    """The limits, how much comes and is reserved at once, and who acts first."""

    total: int
    staged: int
    block_bytes: int
    slice_bytes: int
    order: Sequence[int]


class Project:
    """Uploads of any instances, which act in any order, each in transactions."""

    def __init__(self, uploads: Sequence[Upload], course: Course) -> None:
        self.uploads = uploads
        self.course = course
        self.clock = count()

    def act(self, upload: Upload) -> bool:
        """The next transaction of an upload; whether anything is different then."""
        if upload.ended:
            return False
        if upload.age is None:
            upload.age = (
                NOON + timedelta(seconds=next(self.clock) // 2),
                f"{self.uploads.index(upload)}",
            )
            return True
        is_waiting = upload.received > upload.reserved
        if not is_waiting:
            upload.received = min(upload.size_bytes, upload.received + self.course.block_bytes)
            if upload.received > upload.reserved and self.take(upload, self.course.slice_bytes):
                return True
        if upload.received > upload.reserved:
            refused = self.refusal(upload, upload.received)
            if refused is None:
                upload.reserved, upload.ahead = upload.received, 0
            elif may_wait(upload.seen, refused.resource, self.growing()):
                upload.ahead = 0
                return not is_waiting
            else:
                upload.reserved, upload.ended = 0, "refused"
        elif upload.received == upload.size_bytes:
            upload.reserved, upload.ended = upload.size_bytes, "stored"
        return True

    def take(self, upload: Upload, ahead: int) -> bool:
        """Reserve what was received, and more ahead, if that fits."""
        if self.refusal(upload, upload.received + ahead) is not None:
            return False
        upload.reserved, upload.ahead = upload.received + ahead, ahead
        return True

    def refusal(self, upload: Upload, size_bytes: int) -> QuotaExceeded | None:
        """Why so much cannot be reserved."""
        more = size_bytes - upload.reserved
        bounds = {**UNLIMITED, **limits(total=self.course.total, staged=self.course.staged)}
        account = Account("p", usage(*self.used))
        try:
            charge(account, usage(more, more * upload.is_staging), bounds)
        except QuotaExceeded as refused:
            return refused
        return None

    @property
    def used(self) -> tuple[int, int]:
        """What all of them hold, and what of that is staged."""
        return (
            sum(upload.reserved for upload in self.uploads),
            sum(upload.reserved for upload in self.uploads if upload.is_staging),
        )

    def growing(self) -> Sequence[GrowingUpload]:
        """Those that run."""
        return [upload.seen for upload in self.uploads if upload.age and not upload.ended]

    def run(self) -> None:
        """Let them act in the order, and then in turn until all have ended."""
        for number in self.course.order:
            self.act(self.uploads[number % len(self.uploads)])
            self.require_within()
        while not all(upload.ended for upload in self.uploads):
            changed = [self.act(upload) for upload in self.uploads]
            self.require_within()
            assert any(changed), "all wait for each other"

    def require_within(self) -> None:
        """No limit is ever exceeded."""
        total, staged = self.used
        assert total <= self.course.total
        assert staged <= self.course.staged

    def sizes(self, ended: str) -> list[int]:
        """Of the uploads that ended so."""
        return [upload.size_bytes for upload in self.uploads if upload.ended == ended]


SIZES = st.integers(1, 30)
COURSES = st.builds(
    Course,
    total=st.integers(0, 200),
    staged=st.integers(0, 200),
    block_bytes=st.integers(1, 8),
    slice_bytes=st.sampled_from([0, 1, 5, 20, 100]),
    order=st.lists(st.integers(0, 11), max_size=150),
)


@pytest.mark.rule("quotas.9", "quotas.10", "quotas.11")
@given(st.lists(st.tuples(SIZES, st.booleans()), min_size=1, max_size=12), COURSES)
def test_uploads_of_any_size_end(kinds: Sequence[tuple[int, bool]], course: Course) -> None:
    """In any order they end, never above a limit; and if all fit, all are stored."""
    project = Project([Upload(*kind) for kind in kinds], course)
    project.run()

    staged_bytes = sum(size for size, is_staging in kinds if is_staging)
    if sum(size for size, _ in kinds) <= course.total and staged_bytes <= course.staged:
        assert not project.sizes("refused")
    assert project.used[0] == sum(project.sizes("stored"))


@pytest.mark.rule("quotas.9", "quotas.10", "quotas.11")
@given(st.integers(1, 12), SIZES, st.booleans(), COURSES)
def test_of_uploads_of_one_size_as_many_are_stored_as_fit(
    uploads: int, size_bytes: int, is_staging: bool, course: Course
) -> None:
    """Neither more nor fewer, whatever was reserved ahead."""
    project = Project([Upload(size_bytes, is_staging) for _ in range(uploads)], course)
    project.run()

    limit = min(course.total, course.staged) if is_staging else course.total
    assert len(project.sizes("stored")) == min(uploads, limit // size_bytes)
