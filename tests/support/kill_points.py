"""The points at which workers are killed, by name: of each type of task, and of each way of it.

A point is a call of a driver, a phase, or a moment of qemu-img; no part of the product knows of
them (``support/doomed.py``). Where bytes are moved there are ten. Sharing those of a clone has
seven, because there are no bytes to stop in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from support.doomed import CHILD_BEGINS, CHILD_RUNS, CONVERTING, Moment

FIRST = "before it is picked up"
LAST = "after its end is written down"
CANCELLED = "while it is being cancelled"
ONE_ATTEMPT = {FIRST, LAST, CANCELLED}

Points = Mapping[str, Moment]


def points(change: str, last: int, cancelled_at: Moment, between: Points) -> Points:
    """Those of a type: ``change`` is what writes its task, ``last`` the number of its end."""
    return {
        FIRST: Moment(change),
        "picked up, and not begun": Moment(change, "after"),
        **between,
        LAST: Moment(change, "after", last),
        CANCELLED: replace(cancelled_at, is_cancelled=True),
    }


HALF = Moment("put", "half")

STREAMED = points("modify_image", 3, HALF, {
    "before its row is written": Moment("modify_image", "before", 2),
    "the row is written, and no byte": Moment("modify_image", "after", 2),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": Moment("put", "end"),
    "the store has committed": Moment("put", "after"),
    "before its end is written down": Moment("modify_image", "before", 3),
})  # fmt: skip
IMPORT_CONVERTED = points("modify_image", 3, HALF, {
    "the fetch begins": Moment("phase fetching"),
    "the scratch file is written": Moment(CONVERTING),
    "qemu-img runs": Moment(CHILD_RUNS),
    "the row is written, and no byte": Moment("modify_image", "after", 2),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": Moment("put", "end"),
})  # fmt: skip
CONVERT = points("modify_image", 3, HALF, {
    "half of the scratch file is written": Moment("read", "half"),
    "the scratch file is written": Moment(CONVERTING),
    "the child begins": Moment(CHILD_BEGINS),
    "qemu-img runs": Moment(CHILD_RUNS),
    "it is converted, and has no row": Moment("modify_image", "before", 2),
    "the store has committed": Moment("put", "after"),
})  # fmt: skip
EXPORT = points("modify_task", 2, Moment("deliver", "half"), {
    "it is not delivered already": Moment("has_delivered", "after"),
    "what was left is removed": Moment("remove", "after"),
    "half of the bytes are there": Moment("deliver", "half"),
    "all bytes are there, and not published": Moment("deliver", "end"),
    "it is published": Moment("deliver", "after"),
    "before its end is written down": Moment("modify_task", "before", 2),
})  # fmt: skip
EXPORT_CONVERTED = points("modify_task", 2, Moment("read", "half"), {
    "half of the scratch file is written": Moment("read", "half"),
    "the scratch file is written": Moment(CONVERTING),
    "qemu-img runs": Moment(CHILD_RUNS),
    "half of the bytes are there": Moment("deliver", "half"),
    "all bytes are there, and not published": Moment("deliver", "end"),
    "it is published": Moment("deliver", "after"),
})  # fmt: skip
SHARE = points("modify_image", 2, Moment("phase sharing"), {
    "the source is looked at": Moment("get_image", "after"),
    "the bytes are about to be shared": Moment("phase sharing"),
    "before it is committed": Moment("modify_image", "before", 2),
})  # fmt: skip
UPLOADED = points("modify_image", 3, HALF, {
    "the row is written, and no byte": Moment("modify_image", "after", 2),
    "the upload is begun, and not noted": Moment("note_upload"),
    "the upload is noted": Moment("note_upload", "after"),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": Moment("put", "end"),
    "the store has committed": Moment("put", "after"),
})  # fmt: skip
COPIED_BY_STORE = points("modify_image", 3, Moment("phase copying"), {
    "the source is looked at": Moment("get_image", "after"),
    "the store is about to be asked": Moment("phase copying"),
    "the row is written, and no byte": Moment("modify_image", "after", 2),
    "the store has committed": Moment("copy_from", "after"),
    "the copy is told of": Moment("phase copied"),
    "before its end is written down": Moment("modify_image", "before", 3),
})  # fmt: skip
FETCHED = points("modify_image", 4, HALF, {
    "the other service is about to be asked": Moment("phase asking the other service"),
    "the image is described": Moment("modify_image", "after", 2),
    "the row is written, and no byte": Moment("modify_image", "after", 3),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": Moment("put", "end"),
    "the store has committed": Moment("put", "after"),
})  # fmt: skip
VERIFY = points("modify_task", 2, Moment("read", "half"), {
    "the image is looked at": Moment("get_image", "after"),
    "the bytes are about to be read": Moment("phase verifying"),
    "half of the bytes are read": Moment("read", "half"),
    "all bytes are read": Moment("read", "end"),
    "what was found is noted": Moment("modify_image", "after"),
    "before its end is written down": Moment("modify_task", "before", 2),
})  # fmt: skip
