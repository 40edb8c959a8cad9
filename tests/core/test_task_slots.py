"""Which tasks may begin: most share the places of a worker, exports have those of destinations."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from imaged.core.task import Task, TaskFacts
from imaged.core.task_slots import TaskSlots
from support.sample_images import task

KINDS = (TaskFacts("verify"), TaskFacts("import"), TaskFacts("export", place_field="export_to"))


def export(to: str) -> Task:
    """An export that waits."""
    return task(type="export", input={"export_to": to})


def room(*running: Task, limits: Mapping[str, int] | None = None) -> TaskSlots:
    """Three slots for most types, two for each destination, with these running."""
    left = TaskSlots(KINDS, 3, 2, limits or {})
    for one in running:
        left.occupy(one)
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

    assert not full.has_slot_for(export("frozen"))
    assert full.has_slot_for(export("archive"))
    assert full.has_slot_for(VERIFY)
    full.occupy(VERIFY)
    assert not full.has_slot_for(VERIFY)
    assert full.has_slot_for(export("archive"))


def test_types_may_have_fewer() -> None:
    """A limit of a type holds wherever its tasks go; unknown types have no room."""
    left = room(export("a"), VERIFY, limits={"export": 1, "verify": 1})

    assert list(left.types) == ["import"]
    assert not left.has_slot_for(export("b"))
    assert not left.has_slot_for(task(type="magic"))
