"""What counts against the limits of projects, and which changes they refuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imaged.core.deletion import delete, expire, restore
from imaged.core.errors import QuotaExceeded
from imaged.core.growth import reserve
from imaged.core.image import Image
from imaged.core.quota import (
    UNLIMITED,
    Account,
    Limits,
    Resource,
    Usage,
    charge,
    charges,
    full_resources,
    limits_with_defaults,
    usage_of,
    with_limits,
)
from imaged.core.uploading import (
    begin_attempt,
    begin_import,
    give_back,
    stage_data,
    store_data,
    unstage,
)
from support.quotas import account, limits, usage
from support.sample_images import (
    REASON,
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
    task,
    uploading,
)

ATTEMPTING = attempt_at(location("second", 130))(importing(staged()), claim())

USAGES = [
    (queued(), usage(images=1)),
    (saving(), usage(total=100, images=1, uploads=1)),
    (uploading(), usage(total=100, staged=100, images=1, uploads=1)),
    (staged(), usage(total=100, staged=100, images=1, uploads=1)),
    (importing(), usage(images=1, uploads=1)),
    (importing(staged()), usage(total=100, staged=100, images=1, uploads=1)),
    (ATTEMPTING, usage(total=130, staged=100, images=1, uploads=1)),
    (draft(), usage(images=1, uploads=1)),
    (active(), usage(total=100, images=1)),
    (pending_delete(), usage(total=100)),
    (expired(), usage()),
    (delete(delayed=False)(active()), usage()),
    (delete(delayed=False)(queued()), usage()),
]


@pytest.mark.parametrize(("image", "expected"), USAGES)
@pytest.mark.rule("quotas.5")
def test_what_an_image_counts_for(image: Image, expected: Usage) -> None:
    """Bytes from before the first one, records until they are deleted, uploads until they end."""
    assert usage_of(image) == expected


CHARGES = [
    (None, queued(), {"p1": usage(images=1)}),
    (None, draft(), {"p1": usage(images=1, uploads=1)}),
    (queued(), saving(), {"p1": usage(total=100, uploads=1)}),
    (queued(), uploading(), {"p1": usage(total=100, staged=100, uploads=1)}),
    (uploading(), stage_data(content(70))(uploading(), claim()), {"p1": usage(-30, -30)}),
    (saving(), reserve(5000)(saving(), claim()), {"p1": usage(total=4900)}),
    (saving(), store_data(content(70))(saving(), claim()), {"p1": usage(-30, uploads=-1)}),
    (saving(), give_back(claim(), REASON, final=False)(saving()), {"p1": usage(-100, uploads=-1)}),
    (queued(), importing(), {"p1": usage(uploads=1)}),
    (staged(), begin_import(task())(staged()), {}),
    (importing(), begin_attempt(importing(), claim()), {}),
    (draft(), begin_attempt(draft(), claim()), {}),
    (importing(staged()), ATTEMPTING, {"p1": usage(total=30)}),
    (ATTEMPTING, store_data(content(70))(ATTEMPTING, claim()), {"p1": usage(-60, -100, 0, -1)}),
    (ATTEMPTING, give_back(claim(), REASON, final=False)(ATTEMPTING), {"p1": usage(-30)}),
    (staged(), unstage(staged())(staged()), {"p1": usage(-100, -100, 0, -1)}),
    (active(), delete(delayed=False)(active()), {"p1": usage(total=-100, images=-1)}),
    (active(), pending_delete(), {"p1": usage(images=-1)}),
    (pending_delete(), restore(pending_delete()), {"p1": usage(images=1)}),
    (pending_delete(), expire(pending_delete())(pending_delete()), {"p1": usage(total=-100)}),
    (
        active(),
        replace(active(), owner="p2"),
        {"p1": usage(total=-100, images=-1), "p2": usage(total=100, images=1)},
    ),
    (active(), replace(active(), name="new"), {}),
]


@pytest.mark.parametrize(("before", "after", "expected"), CHARGES)
@pytest.mark.rule("ledger.4", "quotas.5")
def test_a_change_is_charged_by_its_difference(
    before: Image | None, after: Image, expected: dict[str, Usage]
) -> None:
    """Every path through the life of an image; to publish what is staged needs no more of it."""
    assert charges(before, after) == expected


def test_an_attempt_in_another_store_counts_what_it_writes_beyond_the_staged_bytes() -> None:
    """Staged bytes and those that an import makes of them count as the larger of both."""
    begun = importing(staged())

    assert charges(begun, attempt_at(location("second", 150))(begun, claim())) == {
        "p1": usage(total=50)
    }


def test_accounts_are_locked_in_one_order() -> None:
    """By name, in either direction."""
    there, back = replace(active(), owner="a"), replace(active(), owner="b")

    assert list(charges(there, back)) == ["a", "b"]
    assert list(charges(back, there)) == ["a", "b"]


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize(
    ("used", "limit", "more", "now_used"),
    [
        (0, None, 10**15, 10**15),
        (90, 100, 10, 100),
        (100, 100, 0, 100),
        (200, 100, -50, 150),
        (200, 100, 0, 200),
        (10, 0, -10, 0),
    ],
)
@pytest.mark.rule("quotas.6")
def test_charges_within_the_limit(
    resource: Resource, used: int, limit: int | None, more: int, now_used: int
) -> None:
    """Up to the limit, and always downwards, also from above it."""
    before = account("p1", {**usage(), resource: used})
    charged = charge(before, {**usage(), resource: more}, {**UNLIMITED, resource: limit})

    assert charged == account("p1", {**usage(), resource: now_used})


@pytest.mark.parametrize("resource", Resource)
@pytest.mark.parametrize(("used", "limit", "more"), [(90, 100, 11), (200, 100, 1), (0, 0, 1)])
@pytest.mark.rule("quotas.6")
def test_charges_beyond_the_limit(resource: Resource, used: int, limit: int, more: int) -> None:
    """One too many is refused, and the sentence has all that its reader needs."""
    with pytest.raises(QuotaExceeded) as refused:
        charge(
            account("p1", {**usage(), resource: used}),
            {**usage(), resource: more},
            {**UNLIMITED, resource: limit},
        )

    told = str(refused.value)
    assert refused.value.resource == resource
    assert told.startswith(f"The project p1 has a limit '{resource}' of {limit} ")
    assert f": {used} are used, and {more} more are needed. " in told
    assert told.endswith(" An operator can raise the limit.")


def test_one_resource_without_room_refuses_the_whole_change() -> None:
    """Although there is room for the others."""
    with pytest.raises(QuotaExceeded, match="limit 'uploads' of 0"):
        charge(account("p1"), usage(1, 1, 1, 1), {**UNLIMITED, Resource.UPLOADS: 0})


def test_what_shrinks_is_not_refused_because_of_what_is_too_much() -> None:
    """Data that is complete frees an upload, also in a project beyond its other limits."""
    over = account("p1", usage(total=200, images=3, uploads=1))

    assert charge(over, usage(uploads=-1), limits(total=1, staged=0, images=1, uploads=0)) == (
        account("p1", usage(total=200, images=3))
    )


def test_no_usage_becomes_negative() -> None:
    """An image that an older version added, and did not count, can be deleted."""
    assert charge(account("p1"), usage(images=-1), UNLIMITED) == account("p1")


DEFAULTS = limits(total=10, staged=20, images=None, uploads=40)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, DEFAULTS),
        (limits(total=1), {**DEFAULTS, Resource.TOTAL: 1}),
        (limits(total=None), {**DEFAULTS, Resource.TOTAL: None}),
        (limits(images=5), {**DEFAULTS, Resource.IMAGES: 5}),
        (limits(uploads=0), {**DEFAULTS, Resource.UPLOADS: 0}),
    ],
)
@pytest.mark.rule("quotas.7")
def test_limits_of_the_project_precede_the_defaults(own: Limits, expected: Limits) -> None:
    """Unlimited is a limit of its own: it differs from having none."""
    assert limits_with_defaults(account("p1", own=own), DEFAULTS) == expected


def test_limits_are_set_and_removed_one_by_one() -> None:
    """The others stay, and so does the usage."""
    before = account("p1", usage(5), limits(total=1, images=2, uploads=3))

    after = with_limits(before, limits(images=None), reset=[Resource.UPLOADS, Resource.STAGED])

    assert after == Account("p1", usage(5), limits(total=1, images=None))


def test_full_projects() -> None:
    """A project is full of what it has no more left of."""
    used = account("p1", usage(total=10, staged=5, images=3, uploads=0))

    assert full_resources(used, limits(total=10, staged=6, images=2, uploads=0)) == [
        Resource.TOTAL,
        Resource.IMAGES,
        Resource.UPLOADS,
    ]
    assert full_resources(used, UNLIMITED) == []
