"""Queries of URLs are masked, and nothing else is."""

from __future__ import annotations

import pytest

from imaged.core.access import Caller
from imaged.core.access import task_as_seen_by as seen
from imaged.core.signed_urls import without_queries
from imaged.core.task import cancel, fail, pick_up, succeed, worker_lost
from support.sample_images import task

SIGNED = "https://s3.example/b/disk.raw?X-Amz-Signature=made-up"
MASKED = "https://s3.example/b/disk.raw?***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (SIGNED, MASKED),
        (SIGNED.replace("https", "HTTP"), MASKED.replace("https", "HTTP")),
        (f" {SIGNED}\n", MASKED),
        (
            {"method": {"uri": SIGNED, "name": "web-download"}},
            {"method": {"uri": MASKED, "name": "web-download"}},
        ),
        ([SIGNED, "raw"], [MASKED, "raw"]),
        ("https://s3.example/b/disk.raw", "https://s3.example/b/disk.raw"),
        ("https://s3.example/b/disk.raw?", "https://s3.example/b/disk.raw?"),
        ("is this http://a?b", "is this http://a?b"),
        ("what?", "what?"),
        (512, 512),
        (None, None),
    ],
)
def test_what_is_masked(value: object, shown: object) -> None:
    """URLs that have a query, wherever they stand."""
    assert without_queries({"field": value}) == {"field": shown}


def test_a_task_that_has_ended_keeps_no_query() -> None:
    """However it ended; while it may be tried again, it needs it."""
    asked = task(input={"import_from": SIGNED})
    begun = pick_up(asked)

    assert worker_lost(begun, "It went.").input == {"import_from": SIGNED}
    for ended in (succeed(begun, {}), fail(begun, "no room"), cancel(asked, "enough")):
        assert ended.input == {"import_from": MASKED}


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        (Caller(user="u", project="project-a", roles=frozenset({"member"})), SIGNED),
        (Caller(user="u", project="project-b", roles=frozenset({"admin"})), MASKED),
    ],
)
def test_only_its_project_sees_the_query(caller: Caller, shown: str) -> None:
    """An administrator of another project sees the rest."""
    asked = task(owner="project-a", input={"import_from": SIGNED})

    assert seen(caller, asked).input == {"import_from": shown}
