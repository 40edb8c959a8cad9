"""Makes the page of the statuses, from the table of ``core/lifecycle``."""

from __future__ import annotations

from collections.abc import Mapping

from imaged.core.lifecycle import IMAGE_TRANSITIONS, Status
from references.markdown import MADE, code, table

_HEAD = f"""\
# Statuses

{MADE}

For those who ask what a status means, and how an image got there. A status changes by an event and
by nothing else; an event that a row does not name is refused with 409 and changes nothing. Each
change is one line of the log, `image.status`, with the event in `because`.
"""

MEANINGS: Mapping[Status, str] = {
    Status.QUEUED: "The record is there and its data is not.",
    Status.SAVING: "Data is coming in, by an upload that holds a claim.",
    Status.UPLOADING: "Data is coming in to be staged for an import, or waits for one.",
    Status.IMPORTING: "A task makes data of what was staged.",
    Status.ACTIVE: "The data is whole, and whoever sees the image may read it.",
    Status.DEACTIVATED: "The data is whole, and only administrators may read it.",
    Status.KILLED: "An upload failed for good, where `uploads.on_failure` is `kill`.",
    Status.PENDING_DELETE: "Deleted for its users. It keeps its bytes and can be restored, until "
    "the `scrubber.delay` that is configured now is over.",
    Status.DELETED: "Gone. Its id is never used again.",
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
