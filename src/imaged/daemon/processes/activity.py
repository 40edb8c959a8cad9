"""What all processes that answer do together: current numbers of the living, totals of all."""

from __future__ import annotations

from functools import reduce

import msgspec

from imaged.core.summary import RequestCounts
from imaged.daemon.processes.messages import Activity
from imaged.services.traffic import Traffic

#: What a process that has ended does no longer.
_CURRENT = ("requests_in_flight", "uploads_in_flight", "downloads_in_flight")


def activity_of(traffic: Traffic, requests: RequestCounts, in_flight: int) -> Activity:
    """What this process does. ``in_flight``: the requests that it is answering."""
    return Activity(
        requests_in_flight=in_flight,
        uploads_in_flight=traffic.uploads_in_flight,
        downloads_in_flight=traffic.downloads_in_flight,
        received_bytes=traffic.received_bytes,
        sent_bytes=traffic.sent_bytes,
        answered=requests.answered,
        failed=requests.failed,
        refused=requests.refused,
    )


class InstanceActivity:
    """Adds the activities of processes, each in its slot. Totals never fall."""

    def __init__(self) -> None:
        self._living: dict[int, Activity] = {}
        self._ended = Activity()

    def update(self, slot: int, activity: Activity) -> None:
        """Replace the activity of the process in a slot; its totals count from its start."""
        self._living[slot] = activity

    def process_ended(self, slot: int) -> None:
        """Keep the totals of the process that was in a slot."""
        last = self._living.pop(slot, Activity())
        self._ended = _added(
            self._ended, msgspec.structs.replace(last, **dict.fromkeys(_CURRENT, 0))
        )

    @property
    def total(self) -> Activity:
        """The sum."""
        return reduce(_added, self._living.values(), self._ended)

    @property
    def requests(self) -> RequestCounts:
        """The answered requests."""
        total = self.total
        return RequestCounts(total.answered, total.failed, total.refused)


def _added(one: Activity, other: Activity) -> Activity:
    return Activity(
        *(
            mine + others
            for mine, others in zip(
                msgspec.structs.astuple(one), msgspec.structs.astuple(other), strict=True
            )
        )
    )
