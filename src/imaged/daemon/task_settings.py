"""Translates Config into the settings of task components."""

from __future__ import annotations

from pathlib import Path

from imaged.config import Config
from imaged.conversion.qemu_img import QemuImgSettings
from imaged.conversion.scratch import ScratchSettings
from imaged.fetchers.fetch_settings import FetchSettings
from imaged.services.tasks.runner import RunnerSettings
from imaged.services.tasks.task_service import TaskServiceSettings


def task_service_settings(config: Config) -> TaskServiceSettings:
    """Access to tasks, limits for each project, and retention."""
    tasks = config.tasks
    return TaskServiceSettings(
        access=tasks.access,
        time_to_live=tasks.time_to_live,
        max_unfinished=tasks.max_unfinished_per_owner,
        max_properties_bytes=config.uploads.max_properties_size,
    )


def runner_settings(config: Config) -> RunnerSettings:
    """Concurrency of tasks."""
    tasks = config.tasks
    return RunnerSettings(
        concurrency=tasks.concurrency,
        limits=dict(tasks.limits),
        poll_every=tasks.poll_every,
        per_destination=tasks.exports_per_destination,
        stalled_after=tasks.stalled_after,
    )


def key_file(config: Config) -> Path:
    """The file with the key for secrets."""
    return Path(config.tasks.key_file)


def fetch_settings(config: Config) -> FetchSettings:
    """Allowed addresses and time limits of fetches."""
    fetch = config.fetch
    return FetchSettings(
        allow=fetch.allow,
        ports=fetch.ports,
        total_time=fetch.total_time,
        min_bytes_per_second=fetch.min_rate,
        ca_file=Path(fetch.ca_file) if fetch.ca_file else None,
    )


def qemu_img_settings(config: Config) -> QemuImgSettings:
    """Resource limits of one conversion."""
    conversion = config.conversion
    return QemuImgSettings(
        memory_bytes=conversion.memory,
        cpu_time=conversion.cpu_time,
        time=conversion.time,
        max_size_bytes=config.uploads.max_size,
    )


def scratch_settings(config: Config) -> ScratchSettings:
    """The scratch folder of conversions."""
    return ScratchSettings(config.conversion.scratch, config.conversion.min_free)
