"""The settings in the files that operators read are those of the code."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from imaged.config import Config, load
from imaged.config.model import SECTIONS, TABLES
from imaged.config.sections import Section, is_reloadable, is_secret, settings_in
from imaged.config.stores import (
    EXPORT_TYPES,
    STORE_TYPES,
    FilesystemSection,
    S3Section,
    StoresSection,
)
from imaged.daemon import settings
from support.settings import DEFAULT_CONFIG

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "config/imaged.toml"
DEVELOPERS = ROOT / "config/imaged.dev.toml"
ARCHIVE, OFFSITE = EXPORT_TYPES["filesystem"], EXPORT_TYPES["s3"]


def flat(values: Mapping[str, Any], *path: str) -> Iterator[tuple[str, Any]]:
    """Every key with its value."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flat(value, *path, key)
        else:
            yield ".".join((*path, key)), value


def defaults() -> Iterator[tuple[str, Any]]:
    """Every setting of the code with its default, as an operator would write it."""
    for path, model in TABLES.items():
        for key, field in settings_in(model).items():
            if not is_secret(field):
                yield ".".join((*path, key)), field.default
    yield from flat(StoresSection.DEFAULT, "stores")
    for key, field in FilesystemSection.model_fields.items():
        if not field.is_required():
            yield f"stores.local.{key}", field.default


def whole_sample() -> str:
    """The sample with the store that is commented out: a "#" without a space is no comment."""
    return re.sub(r"(?m)^#(?! |$)", "", SAMPLE.read_text())


def test_the_sample_has_every_setting_with_its_default() -> None:
    """All of them, as they are, and nothing more."""
    assert dict(defaults()) == dict(flat(tomllib.loads(SAMPLE.read_text())))


@pytest.mark.parametrize(
    ("section", "name", "given", "model"),
    [
        ("stores", "cloud", {"type": "s3", "bucket": "images"}, S3Section),
        ("exports", "archive", {"type": "filesystem", "path": "/srv/exports"}, ARCHIVE),
        ("exports", "offsite", {"type": "s3", "bucket": "archive"}, OFFSITE),
    ],
)
def test_the_sample_shows_each_kind_of_place(
    tmp_path: Path, section: str, name: str, given: dict[str, Any], model: type[Section]
) -> None:
    """Every setting of it but the secrets, with its default, for those who take away the "#"."""
    file = tmp_path / "imaged.toml"
    file.write_text(whole_sample())

    assert isinstance(getattr(load(file, {}), section).by_name[name], model)
    assert tomllib.loads(whole_sample())[section][name] == given | {
        key: field.default
        for key, field in model.model_fields.items()
        if not field.is_required() and not is_secret(field)
    }


def test_the_sample_gives_the_defaults() -> None:
    """Installing it changes no setting."""
    assert load(SAMPLE, {}) == DEFAULT_CONFIG


def test_the_sample_marks_what_a_reload_applies() -> None:
    """The mark stands in the comment above exactly those settings."""
    marked, is_marked, section = set(), False, ""
    for line in SAMPLE.read_text().splitlines():
        if line.startswith("["):
            section, is_marked = line.strip("[]"), False
        elif line.startswith("#"):
            is_marked = is_marked or "(reload)" in line
        elif " = " in line:
            marked |= {f"{section}.{line.split(' = ')[0]}"} if is_marked else set()
            is_marked = False

    reloadable = {
        ".".join((*path, key))
        for path, model in TABLES.items()
        for key, field in settings_in(model).items()
        if is_reloadable(field)
    }
    assert reloadable == marked


def test_the_developers_file_is_good() -> None:
    """`make run` works: without authentication, and only for this machine."""
    config = load(DEVELOPERS, {})

    assert config.auth.method == "none"
    assert [str(address) for address in config.api.bind] == ["127.0.0.1:9292"]
    assert config.catalog.url == f"sqlite:///{ROOT}/var/catalog.db"
    store = config.stores.by_name["local"]
    assert isinstance(store, FilesystemSection)
    assert store.path == ROOT / "var/images"


def test_every_setting_has_a_reason() -> None:
    """A sentence, or it would not be a setting."""
    models: list[type[Section]] = [*TABLES.values(), *STORE_TYPES.values()]
    for model in models:
        for field in model.model_fields.values():
            assert field.description


@pytest.mark.parametrize(
    "name",
    [
        "SCRUBBER__DELAY",
        "RECONCILE__QUARANTINE",
        "UPLOADS__STAGED_TIME_TO_LIVE",
        "UPLOADS__REMEMBER_BROKEN",
    ],
)
def test_the_longest_delay_is_that_of_all_that_protect_data(name: str) -> None:
    """So long a step of the clock is waited out at least."""
    longer = load(DEVELOPERS, {f"IMAGED_{name}": "40d"})

    assert settings.longest_delay(DEFAULT_CONFIG) == timedelta(hours=24)
    assert settings.longest_delay(longer) == timedelta(days=40)


def test_what_had_come_is_compared_unless_that_is_switched_off() -> None:
    """By a time of nothing to remember it for."""
    off = load(DEVELOPERS, {"IMAGED_UPLOADS__REMEMBER_BROKEN": "0"})

    assert settings.ingest_settings(DEFAULT_CONFIG).remembers_broken
    assert not settings.ingest_settings(off).remembers_broken


def test_every_section_is_read() -> None:
    """The sections of the Config are those that files may have."""
    assert [field.name for field in fields(Config)] == list(SECTIONS)
