"""What tasks are asked for: each type, and each way of it, with the points where it is killed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from support.kill_harness import kill_points
from support.kill_harness.harness import KillHarness
from support.kill_harness.kill_points import Points
from support.two_stores import SECOND_STORE


@dataclass(frozen=True)
class TaskCase:
    """A type of task, or a way of it."""

    ask: Callable[[KillHarness, str], Awaitable[str]]
    points: Points
    makes: str = "image"
    disk_format: str = "raw"
    phase: str = ""  # where it dies again and again
    failed_status: str = ""  # of the image that a client named, where the task failed


async def image_from_web(at: KillHarness, disk_format: str) -> str:
    """An import, converted where that is another format."""
    properties = {"disk_format": disk_format, "container_format": "bare"}
    asked = {"import_from": at.url, "import_from_format": "raw", "image_properties": properties}
    return await at.tasks.ask("import", **asked)


def export_as(disk_format: str) -> Callable[[KillHarness, str], Awaitable[str]]:
    """An export of a name of its own."""

    def ask(at: KillHarness, name: str) -> Awaitable[str]:
        asked = {"image_id": at.source_id, "export_to": "archive", "export_format": disk_format}
        return at.tasks.ask("export", **asked, file_name=f"{name}.{disk_format}")

    return ask


async def fetch(at: KillHarness) -> str:
    """A clone from another service, which is the one in front."""
    url = at.url.removesuffix("/file")
    return await at.tasks.ask("clone", source_image_url=url, source_token="a-made-up-token")


TASK_CASES: Mapping[str, TaskCase] = {
    "import": TaskCase(
        lambda at, _: image_from_web(at, "raw"), kill_points.STREAMED, phase="fetching"
    ),
    "import converted": TaskCase(
        lambda at, _: image_from_web(at, "qcow2"),
        kill_points.IMPORT_CONVERTED,
        disk_format="qcow2",
        phase="fetching",
    ),
    "export": TaskCase(export_as("raw"), kill_points.EXPORT, "file", phase="exporting"),
    "export converted": TaskCase(
        export_as("qcow2"), kill_points.EXPORT_CONVERTED, "file", "qcow2", "reading"
    ),
    "clone shared": TaskCase(
        lambda at, _: at.tasks.ask("clone", image_id=at.source_id),
        kill_points.SHARE,
        phase="sharing",
    ),
    "clone between": TaskCase(
        lambda at, _: at.tasks.ask("clone", image_id=at.source_id, store=SECOND_STORE),
        kill_points.STREAMED,
        phase="copying",
    ),
    "clone fetched": TaskCase(lambda at, _: fetch(at), kill_points.FETCHED, phase="fetching"),
    "convert": TaskCase(
        lambda at, _: at.tasks.ask("convert", image_id=at.source_id, to_format="qcow2"),
        kill_points.CONVERT,
        disk_format="qcow2",
        phase="reading",
    ),
    "verify": TaskCase(
        lambda at, _: at.tasks.ask("verify", image_id=at.source_id),
        kill_points.VERIFY,
        "report",
        phase="verifying",
    ),
    "api_image_import": TaskCase(
        lambda at, _: at.call_import("import", {"method": {"name": "glance-direct"}}),
        kill_points.STREAMED,
        phase="storing",
        failed_status="uploading",
    ),
    "location_import": TaskCase(
        lambda at, _: at.call_import("locations", {"url": at.url}),
        kill_points.STREAMED,
        phase="fetching",
        failed_status="queued",
    ),
}

#: Where stores have uploads that are not finished, and copy by themselves.
KINDS_ON_SERVERS = {
    **TASK_CASES,
    "import": replace(TASK_CASES["import"], points=kill_points.UPLOADED),
    "clone between": replace(TASK_CASES["clone between"], points=kill_points.COPIED_BY_STORE),
}
