"""Makes the page of the statuses, from the table of ``core/lifecycle``."""

from __future__ import annotations

from collections.abc import Mapping

from imaged.core.lifecycle import IMAGE_TRANSITIONS, Status
from references.markdown import MADE, code, table

_HEAD = f"""\
# Statuses

{MADE}

For readers who look up the meaning of a status. A status changes only by an event;
an event that a row does not name is refused with 409 and changes nothing. Each
change is one line of the log: [events](events.md#images-and-requests).
"""

MEANINGS: Mapping[Status, str] = {
    Status.QUEUED: "The record exists, and has no data yet.",
    Status.SAVING: "An upload, which holds a claim, is sending data.",
    Status.UPLOADING: "Data is being staged for an import, or waits for one.",
    Status.IMPORTING: "A task imports the data.",
    Status.ACTIVE: "The data is complete, and callers that see the image may read it if they have "
    "the role `member`.",
    Status.DEACTIVATED: "The data is complete, and only administrators may read it.",
    Status.KILLED: "An upload failed for good, where `uploads.on_failure` is `kill`.",
    Status.PENDING_DELETE: "Deleted for its users. It keeps its bytes and can be restored, until "
    "the `scrubber.delay` that is configured now is over.",
    Status.DELETED: "Deleted. Its id is never used again.",
}


def reference() -> str:
    """The page."""
    rows = (
        (
            code(status),
            MEANINGS[status],
            "; ".join(f"{event}: {code(goal)}" for event, goal in row.items()) or "nothing",
        )
        for status, row in IMAGE_TRANSITIONS.items()
    )
    return f"{_HEAD}\n{table(('status', 'what it means', 'what may follow'), rows)}"
