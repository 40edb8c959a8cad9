"""Which tasks may begin: most share the places of a worker, exports have those of destinations."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from imaged.core.room import Room
from imaged.core.task import Task, TaskFacts
from support.records import task

KINDS = (TaskFacts("verify"), TaskFacts("import"), TaskFacts("export", place_field="export_to"))


def export(to: str) -> Task:
    """An export that waits."""
    return task(type="export", input={"export_to": to})


def room(*running: Task, limits: Mapping[str, int] | None = None) -> Room:
    """Three places for most, two at each destination, with so much running."""
    left = Room(KINDS, 3, 2, limits or {})
    for one in running:
        left.take(one)
    return left


VERIFY = task(type="verify")


@pytest.mark.parametrize(
    ("running", "types"),
    [
        ([], ["verify", "import", "export"]),
        ([VERIFY] * 2, ["verify", "import", "export"]),
        ([VERIFY] * 3, ["export"]),
        ([export("a")] * 9, ["verify", "import", "export"]),
    ],
)
def test_exports_take_no_place_of_others(running: list[Task], types: list[str]) -> None:
    """Nor others theirs."""
    assert list(room(*running).types) == types


def test_each_destination_has_places_of_its_own() -> None:
    """One that hangs fills its own."""
    full = room(export("frozen"), export("frozen"), VERIFY, VERIFY)

    assert not full.has(export("frozen"))
    assert full.has(export("archive"))
    assert full.has(VERIFY)
    full.take(VERIFY)
    assert not full.has(VERIFY)
    assert full.has(export("archive"))


def test_types_may_have_fewer() -> None:
    """A limit of a type holds wherever its tasks go; unknown types have no room."""
    left = room(export("a"), VERIFY, limits={"export": 1, "verify": 1})

    assert list(left.types) == ["import"]
    assert not left.has(export("b"))
    assert not left.has(task(type="magic"))
