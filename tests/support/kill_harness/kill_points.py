"""The points at which workers are killed, by name: of each type of task, and of each way of it.

A point is a call of a driver, a phase, or a moment of qemu-img; no part of the product knows of
them (``support/kill_harness/daemon.py``). Where bytes are moved there are ten. Sharing those of a
clone has seven, because there are no bytes to stop in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from support.kill_harness.daemon import CHILD_EXECUTES, CHILD_STARTED, CONVERTING_PHASE, KillPoint

BEFORE_PICK_UP = "before it is picked up"
AFTER_END = "after its end is written down"
WHILE_CANCELLED = "while it is being cancelled"
ONE_ATTEMPT = {BEFORE_PICK_UP, AFTER_END, WHILE_CANCELLED}

Points = Mapping[str, KillPoint]


def points(change: str, last: int, cancelled_at: KillPoint, between: Points) -> Points:
    """Those of a type: ``change`` is what writes its task, ``last`` the number of its end."""
    return {
        BEFORE_PICK_UP: KillPoint(change),
        "picked up, and not begun": KillPoint(change, "after"),
        **between,
        AFTER_END: KillPoint(change, "after", last),
        WHILE_CANCELLED: replace(cancelled_at, is_cancelled=True),
    }


HALF = KillPoint("put", "half")

STREAMED = points("modify_image", 3, HALF, {
    "before its row is written": KillPoint("modify_image", "before", 2),
    "the row is written, and no byte": KillPoint("modify_image", "after", 2),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": KillPoint("put", "end"),
    "the store has committed": KillPoint("put", "after"),
    "before its end is written down": KillPoint("modify_image", "before", 3),
})  # fmt: skip
IMPORT_CONVERTED = points("modify_image", 3, HALF, {
    "the fetch begins": KillPoint("phase fetching"),
    "the scratch file is written": KillPoint(CONVERTING_PHASE),
    "qemu-img runs": KillPoint(CHILD_EXECUTES),
    "the row is written, and no byte": KillPoint("modify_image", "after", 2),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": KillPoint("put", "end"),
})  # fmt: skip
CONVERT = points("modify_image", 3, HALF, {
    "half of the scratch file is written": KillPoint("read", "half"),
    "the scratch file is written": KillPoint(CONVERTING_PHASE),
    "the child begins": KillPoint(CHILD_STARTED),
    "qemu-img runs": KillPoint(CHILD_EXECUTES),
    "it is converted, and has no row": KillPoint("modify_image", "before", 2),
    "the store has committed": KillPoint("put", "after"),
})  # fmt: skip
EXPORT = points("modify_task", 2, KillPoint("deliver", "half"), {
    "it is not delivered already": KillPoint("has_delivered", "after"),
    "what was left is removed": KillPoint("remove", "after"),
    "half of the bytes are there": KillPoint("deliver", "half"),
    "all bytes are there, and not published": KillPoint("deliver", "end"),
    "it is published": KillPoint("deliver", "after"),
    "before its end is written down": KillPoint("modify_task", "before", 2),
})  # fmt: skip
EXPORT_CONVERTED = points("modify_task", 2, KillPoint("read", "half"), {
    "half of the scratch file is written": KillPoint("read", "half"),
    "the scratch file is written": KillPoint(CONVERTING_PHASE),
    "qemu-img runs": KillPoint(CHILD_EXECUTES),
    "half of the bytes are there": KillPoint("deliver", "half"),
    "all bytes are there, and not published": KillPoint("deliver", "end"),
    "it is published": KillPoint("deliver", "after"),
})  # fmt: skip
SHARE = points("modify_image", 2, KillPoint("phase sharing"), {
    "the source is looked at": KillPoint("get_image", "after"),
    "the bytes are about to be shared": KillPoint("phase sharing"),
    "before it is committed": KillPoint("modify_image", "before", 2),
})  # fmt: skip
UPLOADED = points("modify_image", 3, HALF, {
    "the row is written, and no byte": KillPoint("modify_image", "after", 2),
    "the upload is begun, and not noted": KillPoint("record_upload_id"),
    "the upload is noted": KillPoint("record_upload_id", "after"),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": KillPoint("put", "end"),
    "the store has committed": KillPoint("put", "after"),
})  # fmt: skip
COPIED_BY_STORE = points("modify_image", 3, KillPoint("phase copying"), {
    "the source is looked at": KillPoint("get_image", "after"),
    "the store is about to be asked": KillPoint("phase copying"),
    "the row is written, and no byte": KillPoint("modify_image", "after", 2),
    "the store has committed": KillPoint("copy_from", "after"),
    "the copy is told of": KillPoint("phase copied"),
    "before its end is written down": KillPoint("modify_image", "before", 3),
})  # fmt: skip
FETCHED = points("modify_image", 4, HALF, {
    "the other service is about to be asked": KillPoint("phase asking the other service"),
    "the image is described": KillPoint("modify_image", "after", 2),
    "the row is written, and no byte": KillPoint("modify_image", "after", 3),
    "half of the bytes are there": HALF,
    "all bytes are there, and not committed": KillPoint("put", "end"),
    "the store has committed": KillPoint("put", "after"),
})  # fmt: skip
VERIFY = points("modify_task", 2, KillPoint("read", "half"), {
    "the image is looked at": KillPoint("get_image", "after"),
    "the bytes are about to be read": KillPoint("phase verifying"),
    "half of the bytes are read": KillPoint("read", "half"),
    "all bytes are read": KillPoint("read", "end"),
    "what was found is noted": KillPoint("modify_image", "after"),
    "before its end is written down": KillPoint("modify_task", "before", 2),
})  # fmt: skip
