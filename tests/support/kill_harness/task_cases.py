"""What tasks are asked for: each type, and each way of it, as it may be killed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from support.backend import SECOND_STORE
from support.kill_harness.harness import KillHarness


@dataclass(frozen=True)
class TaskCase:
    """A type of task, or a way of it."""

    ask: Callable[[KillHarness, str], Awaitable[str]]
    makes: str = "image"
    disk_format: str = "raw"
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
    "import": TaskCase(lambda at, _: image_from_web(at, "raw")),
    "import converted": TaskCase(
        lambda at, _: image_from_web(at, "qcow2"),
        disk_format="qcow2",
    ),
    "export": TaskCase(export_as("raw"), "file"),
    "export converted": TaskCase(export_as("qcow2"), "file", "qcow2"),
    "clone shared": TaskCase(
        lambda at, _: at.tasks.ask("clone", image_id=at.source_id),
    ),
    "clone between": TaskCase(
        lambda at, _: at.tasks.ask("clone", image_id=at.source_id, store=SECOND_STORE),
    ),
    "clone fetched": TaskCase(lambda at, _: fetch(at)),
    "convert": TaskCase(
        lambda at, _: at.tasks.ask("convert", image_id=at.source_id, to_format="qcow2"),
        disk_format="qcow2",
    ),
    "verify": TaskCase(
        lambda at, _: at.tasks.ask("verify", image_id=at.source_id),
        "report",
    ),
    "api_image_import": TaskCase(
        lambda at, _: at.call_import("import", {"method": {"name": "glance-direct"}}),
        failed_status="uploading",
    ),
    "location_import": TaskCase(
        lambda at, _: at.call_import("locations", {"url": at.url}),
        failed_status="queued",
    ),
}
