"""Which tasks may begin in a worker that has so many at work.

Most share the places of the worker. A task that goes to a place with a name, an export to its
destination, has one of the places there instead: so a destination that hangs holds up those who
wait for it, and nobody else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from imaged.core.task import Task, TaskFacts


class TaskSlots:
    """What is left of it: ``occupy`` what runs, then what begins."""

    def __init__(
        self,
        kinds: Iterable[TaskFacts],
        concurrency: int,
        per_destination: int,
        limits: Mapping[str, int],
    ) -> None:
        self._kinds = {facts.name: facts for facts in kinds}
        self._left = concurrency
        self._at_one_place = per_destination
        self._limits = limits
        self._of_type: Counter[str] = Counter()
        self._at: Counter[str] = Counter()

    @property
    def types(self) -> Sequence[str]:
        """Those of which a task may still begin, if its place has room."""
        return [
            name
            for name, facts in self._kinds.items()
            if self._may_be_more(name) and (facts.place_field or self._left > 0)
        ]

    def has_slot_for(self, task: Task) -> bool:
        """Whether this one may begin."""
        if task.type not in self._kinds or not self._may_be_more(task.type):
            return False
        place = self._place_of(task)
        return self._left > 0 if place is None else self._at[place] < self._at_one_place

    def occupy(self, task: Task) -> None:
        """It runs."""
        self._of_type[task.type] += 1
        if (place := self._place_of(task)) is not None:
            self._at[place] += 1
        else:
            self._left -= 1

    def _may_be_more(self, name: str) -> bool:
        limit = self._limits.get(name)
        return limit is None or self._of_type[name] < limit

    def _place_of(self, task: Task) -> str | None:
        facts = self._kinds.get(task.type)
        if facts is None or facts.place_field is None:
            return None
        return f"{task.type} {task.input.get(facts.place_field)}"
