"""Decides which tasks may begin in a worker with limited concurrency.

Most tasks share the slots of the worker. A task for a named place, such as an export to its
destination, uses one of the slots of that place instead: a destination that hangs delays only the
tasks for itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from imaged.core.task import Task, TaskFacts


class TaskSlots:
    """The free slots of a worker: ``occupy`` what runs, then what begins."""

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
        """The types of which a task may still begin, if its place has a free slot."""
        return [
            name
            for name, facts in self._kinds.items()
            if self._may_be_more(name) and (facts.place_field or self._left > 0)
        ]

    def has_slot_for(self, task: Task) -> bool:
        """Whether this task may begin."""
        if task.type not in self._kinds or not self._may_be_more(task.type):
            return False
        place = self._place_of(task)
        return self._left > 0 if place is None else self._at[place] < self._at_one_place

    def occupy(self, task: Task) -> None:
        """Take the slot of a task that runs."""
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
