"""The names of unfinished exports: ``.imaged-<task id>.<attempt>``."""

from __future__ import annotations

import re

from imaged.ports.export import ExportFile

TEMPORARY_PREFIX = ".imaged-"
TEMPORARY_NAME = re.compile(r"\.imaged-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.[0-9a-f]{32}")


def temporary_name(export_file: ExportFile) -> str:
    """The temporary name of an attempt."""
    return f"{TEMPORARY_PREFIX}{export_file.task_id}.{export_file.attempt.hex}"


def task_id_of(name: str) -> str | None:
    """The task that wrote it; None if imaged did not."""
    found = TEMPORARY_NAME.fullmatch(name)
    return found and found[1]
