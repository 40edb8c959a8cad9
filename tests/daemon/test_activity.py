"""What several processes do together: current numbers of the living, totals of all."""

from __future__ import annotations

from imaged.core.summary import RequestCounts
from imaged.daemon.processes.activity import InstanceActivity
from imaged.daemon.processes.messages import Activity


def test_totals_never_fall_and_numbers_of_now_end_with_their_process() -> None:
    """A process that is replaced begins at 0, and what it counted before is kept."""
    activity = InstanceActivity()
    activity.update(1, Activity(uploads_in_flight=2, received_bytes=100, answered=7, failed=1))
    activity.update(2, Activity(uploads_in_flight=1, received_bytes=10, answered=3, refused=2))
    both = activity.total
    activity.process_ended(1)
    one = activity.total
    activity.update(1, Activity(uploads_in_flight=4, received_bytes=1, answered=1))
    again = activity.total
    activity.process_ended(3)  # never reported

    assert (both.uploads_in_flight, both.received_bytes) == (3, 110)
    assert (one.uploads_in_flight, one.received_bytes) == (1, 110)
    assert (again.uploads_in_flight, again.received_bytes) == (5, 111)
    assert activity.requests == RequestCounts(answered=11, failed=1, refused=2)
