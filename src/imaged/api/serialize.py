"""Images, their members, and tasks as JSON.

Names and order are those of the OpenStack Image API v2: the client's properties first;
``progress`` is an extension. Times are UTC and truncated to seconds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import blake2b

import msgspec

from imaged.core.access import Caller, is_owner
from imaged.core.attributes import DAMAGE, LAST_FAILURE, NOTICE
from imaged.core.history import ImageHistory
from imaged.core.image import Failure, Image
from imaged.core.member import Member
from imaged.core.task import Progress, Task

ETAG_BYTES = 12  # of a digest

_ENCODER = msgspec.json.Encoder()


def encode(value: object) -> bytes:
    """JSON, in UTF-8."""
    return _ENCODER.encode(value)


def image_json(image: Image, caller: Caller) -> dict[str, object]:
    """The attributes of an image that this caller may see."""
    content, place = image.content, image_path(image.id)
    shown: dict[str, object] = {
        **image.properties,
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "visibility": image.visibility,
        "size": content and content.size_bytes,
        "virtual_size": content and content.virtual_size_bytes,
        "status": image.status,
        "checksum": content and content.checksum,
        "protected": image.protected,
        "min_ram": image.min_ram_mib,
        "min_disk": image.min_disk_gib,
        "owner": image.owner,
        "os_hidden": image.hidden,
        "os_hash_algo": content and content.hash_algorithm,
        "os_hash_value": content and content.hash_value,
        "id": image.id,
        "created_at": moment(image.created_at),
        "updated_at": moment(image.updated_at),
        "tags": image.tags,
        "self": place,
        "file": f"{place}/file",
        "schema": "/v2/schemas/image",
    }
    if content is not None:
        shown["stores"] = ",".join(location.store for location in image.locations)
    if image.last_failure is not None and is_owner(caller, image):
        shown[LAST_FAILURE] = failure_text(image.last_failure)
    if content is not None and content.notice is not None and is_owner(caller, image):
        shown[NOTICE] = content.notice
    if image.damage is not None and caller.is_admin:
        shown[DAMAGE] = image.damage
    return shown


def image_etag(image: Image, caller: Caller) -> str:
    """The strong ETag of ``image_json``, without making that: it names the state of the record, and
    how much of it this caller sees.

    The time is part of it because versions come again after a backup was restored.
    """
    view = (is_owner(caller, image), caller.is_admin)
    state = f"{image.id} {image.version} {image.updated_at} {view}"
    return f'"{blake2b(state.encode(), digest_size=ETAG_BYTES).hexdigest()}"'


def history_json(history: ImageHistory, caller: Caller) -> dict[str, object]:
    """The history of an image, the oldest entry first; it names addresses for administrators, and
    users for the owner too. ``unreadable_entries`` is the number of entries that are damaged.
    """
    names: tuple[str, ...] = ()
    if is_owner(caller, history.image):
        names = ("user_id", "project_id", "request_id")
    if caller.is_admin:
        names += ("peer",)
    return {
        "id": history.image.id,
        "status": history.image.status,
        "scrub_due_at": moment(history.scrub_due_at),
        "history": [
            {
                "at": moment(entry.at),
                "action": entry.action,
                **{name: getattr(entry.actor, name) for name in names},
                "details": entry.details,
            }
            for entry in history.entries
        ],
        "unreadable_entries": len(history.unreadable),
    }


def task_json(task: Task) -> dict[str, object]:
    """The representation of a task. Its input contains no secrets."""
    return {
        **task_summary_json(task),
        "input": task.input,
        "result": task.result,
        "message": task.message,
    }


def task_summary_json(task: Task) -> dict[str, object]:
    """The representation of a task in a list. It omits the id of a draft, whose image does not
    exist for any caller yet.
    """
    return {
        "id": task.id,
        "type": task.type,
        "status": task.status,
        "owner": task.owner,
        "user_id": task.user_id,
        "request_id": task.request_id,
        "image_id": task.image_id,
        "progress": progress_json(task.progress),
        "created_at": moment(task.created_at),
        "updated_at": moment(task.updated_at),
        "expires_at": moment(task.expires_at),
        "self": task_path(task.id),
        "schema": "/v2/schemas/task",
    }


def progress_json(progress: Progress | None) -> dict[str, object] | None:
    """The progress; null before the task has begun."""
    if progress is None:
        return None
    return {
        "phase": progress.phase,
        "done_bytes": progress.done_bytes,
        "total_bytes": progress.total_bytes,
        "percent": progress.percent,
    }


def member_json(member: Member, image_id: str) -> dict[str, object]:
    """A member of an image."""
    return {
        "member_id": member.member_id,
        "image_id": image_id,
        "status": member.status,
        "created_at": moment(member.created_at),
        "updated_at": moment(member.updated_at),
        "schema": "/v2/schemas/member",
    }


def image_path(image_id: str) -> str:
    """The path of an image in this API."""
    return f"/v2/images/{image_id}"


def task_path(task_id: str) -> str:
    """The path of a task in this API."""
    return f"/v2/tasks/{task_id}"


def moment(at: datetime | None) -> str | None:
    """A time as in ``2026-11-20T03:55:50Z``.

    Not by ``strftime``, which took a tenth of the time of a page of a list.
    """
    if at is None:
        return None
    return at.astimezone(UTC).isoformat(timespec="seconds")[: -len("+00:00")] + "Z"


def failure_text(failure: Failure) -> str:
    """Time, phase and reason in one line."""
    when = moment(failure.at)
    return f"{when} {failure.phase}: {failure.reason}" if when else failure.reason
