"""Settings of components as an empty configuration gives them: no test repeats a default."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from pydantic import SecretStr

from imaged.config import Config, ConfigInvalid, load
from imaged.config.auth import AuthSection, KeystoneSection
from imaged.config.stores import FilesystemSection, S3Section
from imaged.daemon import settings
from imaged.daemon.keystone import keystone_settings
from imaged.ports.catalog import ClockCatalog
from imaged.services.clock_guard import ClockGuard, Uptime

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

S = TypeVar("S", bound="DataclassInstance")

DEFAULT_CONFIG = load(Path("/dev/null"), {})

FOLDER = FilesystemSection.model_validate({"type": "filesystem", "path": "/nonexistent"})
BUCKET = S3Section.model_validate({"type": "s3", "bucket": "images"})

WITH_KEYSTONE = replace(
    DEFAULT_CONFIG,
    auth=AuthSection(
        method="keystone",
        keystone=KeystoneSection(
            url=("https://keystone.example.net:5000",),
            username="imaged",
            password=SecretStr("made-up"),
            project="service",
        ),
    ),
)

#: All settings of components, by their class.
ALL_SETTINGS: Mapping[type[Any], Any] = {
    type(one): one
    for one in (
        settings.connection_settings(DEFAULT_CONFIG),
        settings.connection_settings(DEFAULT_CONFIG).min_rate,
        settings.cors_settings(DEFAULT_CONFIG),
        settings.record_limits(DEFAULT_CONFIG),
        settings.delivery_settings(DEFAULT_CONFIG),
        settings.member_settings(DEFAULT_CONFIG),
        settings.claim_settings(DEFAULT_CONFIG),
        settings.filesystem_settings(FOLDER),
        settings.s3_settings("cloud", BUCKET),
        settings.ingest_settings(DEFAULT_CONFIG),
        settings.ingest_settings(DEFAULT_CONFIG).formats,
        settings.scrubber_settings(DEFAULT_CONFIG),
        settings.reconcile_settings(DEFAULT_CONFIG),
        settings.reconcile_settings(DEFAULT_CONFIG).limits,
        settings.task_service_settings(DEFAULT_CONFIG),
        settings.runner_settings(DEFAULT_CONFIG),
        settings.fetch_settings(DEFAULT_CONFIG),
        settings.qemu_img_settings(DEFAULT_CONFIG),
        settings.scratch_settings(DEFAULT_CONFIG),
        keystone_settings(WITH_KEYSTONE),
    )
}


def clock_guard(catalog: ClockCatalog, uptime: Uptime) -> ClockGuard:
    """A guard with the default limits."""
    max_step = DEFAULT_CONFIG.scrubber.max_clock_step
    return ClockGuard(catalog, uptime, max_step, settings.longest_delay(DEFAULT_CONFIG))


def configured(kind: type[S], **changes: Any) -> S:
    """Settings with the defaults of the configuration, and these changes."""
    made: S = ALL_SETTINGS[kind]
    return replace(made, **changes)


def config_of(folder: Path, text: str, **environment: str) -> Config:
    """The configuration of a file with this text. Raises ConfigInvalid."""
    file = folder / "imaged.toml"
    file.write_text(text)
    return load(file, environment)


def problems_of(folder: Path, text: str, **environment: str) -> list[str]:
    """Everything that is said of such a file, without its path and line."""
    with pytest.raises(ConfigInvalid) as caught:
        config_of(folder, text, **environment)
    place = re.compile(rf"{re.escape(str(folder))}/imaged\.toml(:\d+)?: ")
    return [place.sub("", str(problem)) for problem in caught.value.problems]
