"""What an instance reports to the catalog, for ``imaged status`` (decision 40)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import anyio

from imaged.core.summary import InstanceReport, RequestCounts
from imaged.services.health import Health
from imaged.services.reconciler import StoreReconciler


@dataclass(slots=True, eq=False)
class InstanceReporter:
    """Collects the report. The processes of an instance that answer requests are asked too:
    ``requests`` returns what was answered, ``failing_parts`` for how many seconds what has failed,
    ``children_troubles`` their sentences for operators.
    """

    health: Health
    reconciler: StoreReconciler
    requests: Callable[[], RequestCounts] = RequestCounts
    failing_parts: list[Callable[[], Mapping[str, float]]] = field(default_factory=list)
    children_troubles: Callable[[], Sequence[str]] = tuple

    def failing_part_seconds(self) -> Mapping[str, float]:
        """The failing parts that the health checks do not know, and their seconds."""
        return longest_failures(failing() for failing in self.failing_parts)

    def report(self) -> InstanceReport:
        """What the catalog cannot count."""
        now, found = anyio.current_time(), self.reconciler.last

        def ago(at: float | None) -> float | None:
            return None if at is None else round(now - at, 3)

        return InstanceReport(
            spaces=self.health.spaces,
            failing_part_seconds={
                **self.health.failing_part_seconds(),
                **self.failing_part_seconds(),
            },
            reconciled_ago_seconds=ago(self.reconciler.last_at),
            missing_blobs=0 if found is None else len(found.missing),
            reloaded_ago_seconds=ago(self.health.reloaded_at),
            is_reload_rejected=self.health.is_reload_rejected,
            requests=self.requests(),
        )


def longest_failures(parts: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    """The parts that fail in any process, and for how many seconds at most."""
    longest: dict[str, float] = {}
    for failing in parts:
        for part, seconds in failing.items():
            longest[part] = max(seconds, longest.get(part, 0.0))
    return longest
