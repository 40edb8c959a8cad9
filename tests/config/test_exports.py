"""Destinations of exports in the configuration: outside every store, and with the same settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from imaged.config.model import compare_configs
from imaged.config.stores import FilesystemBaseSection, S3BaseSection
from imaged.core.errors import ExportError
from imaged.daemon.places import open_destinations
from imaged.daemon.settings import s3_settings
from imaged.exports.filesystem import FilesystemExport
from imaged.exports.s3 import S3Export
from support.settings import config_of, problems_of

SECRET = "made-up-canary-secret"


def folders(store: Path, destination: Path) -> str:
    """A file with a store in one folder and a destination in the other."""
    return (
        f"[stores.local]\ntype = 'filesystem'\npath = '{store}'\n"
        f"[exports.archive]\ntype = 'filesystem'\npath = '{destination}'\n"
    )


def buckets(store: str, destination: str) -> str:
    """The same with buckets."""
    return (
        f"[stores.local]\ntype = 's3'\nbucket = 'images'\n{store}\n"
        f"[exports.archive]\ntype = 's3'\nbucket = 'images'\n{destination}\n"
    )


@pytest.mark.parametrize("other", ["a", "a/b", "a/", "x/../a", ".", "link", "link/b"])
def test_a_folder_in_a_store(tmp_path: Path, other: str) -> None:
    """It is refused however it is written, and both names are told."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a")

    (problem,) = problems_of(tmp_path, folders(tmp_path / "a", tmp_path / other))

    assert problem.startswith("exports.archive: ")
    assert "the destination archive and the store local" in problem


@pytest.mark.parametrize(
    ("store", "destination"),
    [
        ("", ""),
        ("prefix = 'a'", "prefix = 'a'"),
        ("prefix = 'a'", "prefix = 'a/'"),
        ("prefix = 'a'", "prefix = 'a/b'"),
        ("prefix = 'a/b'", "prefix = 'a'"),
        ("prefix = 'a'", ""),
        ("", "prefix = 'a'"),
        ("endpoint = 'https://s3'", "endpoint = 'https://s3/'"),
    ],
)
def test_a_bucket_in_a_store(tmp_path: Path, store: str, destination: str) -> None:
    """The same with prefixes."""
    (problem,) = problems_of(tmp_path, buckets(store, destination))

    assert "the destination archive and the store local" in problem


@pytest.mark.parametrize(
    ("store", "destination"),
    [
        ("prefix = 'a'", "prefix = 'b'"),
        ("prefix = 'a'", "prefix = 'ab'"),
        ("prefix = 'ab'", "prefix = 'a'"),
        ("prefix = 'a/b'", "prefix = 'a/c'"),
        ("endpoint = 'https://s3'", "endpoint = 'https://s4'"),
    ],
)
def test_a_bucket_beside_a_store(tmp_path: Path, store: str, destination: str) -> None:
    """What only looks alike is fine."""
    config = config_of(tmp_path, buckets(store, destination))

    assert isinstance(config.exports.by_name["archive"], S3BaseSection)


def test_a_folder_beside_a_store(tmp_path: Path) -> None:
    """The same with folders; and a bucket is no folder."""
    config = config_of(
        tmp_path,
        folders(tmp_path / "a", tmp_path / "ab")
        + "[exports.far]\ntype = 's3'\nbucket = 'images'\n",
    )

    assert isinstance(config.exports.by_name["archive"], FilesystemBaseSection)
    assert [*config.exports.by_name] == ["archive", "far"]


def test_keys_come_from_the_environment(tmp_path: Path) -> None:
    """As those of stores do."""
    config = config_of(
        tmp_path,
        "[exports.far]\ntype = 's3'\nbucket = 'images'\n",
        IMAGED_EXPORTS__FAR__ACCESS_KEY="made-up-access",
        IMAGED_EXPORTS__FAR__SECRET_KEY=SECRET,
    )
    section = config.exports.by_name["far"]
    assert isinstance(section, S3BaseSection)

    secret = s3_settings("far", section).secret_key

    assert secret is not None
    assert secret.reveal() == SECRET
    assert SECRET not in repr(config)


def test_a_reload_says_that_a_restart_is_needed(tmp_path: Path) -> None:
    """For another destination."""
    old = config_of(tmp_path, "")
    new = config_of(tmp_path, f"[exports.archive]\ntype = 'filesystem'\npath = '{tmp_path}'\n")

    assert compare_configs(old, new).restart_needed == ["exports.archive"]


@pytest.mark.asyncio
async def test_destinations_are_built_by_their_kinds(tmp_path: Path) -> None:
    """They are not tried: neither of these is there."""
    config = config_of(
        tmp_path,
        "[exports.near]\ntype = 'filesystem'\npath = '/nowhere'\n"
        "[exports.far]\ntype = 's3'\nbucket = 'images'\n",
    )

    async with open_destinations(config.exports) as destinations:
        assert isinstance(destinations["near"], FilesystemExport)
        assert isinstance(destinations["far"], S3Export)


@pytest.mark.asyncio
async def test_keys_that_cannot_be_read(tmp_path: Path) -> None:
    """The file is named, and the destination."""
    config = config_of(
        tmp_path,
        "[exports.far]\ntype = 's3'\nbucket = 'images'\n"
        "access_key_file = '/nowhere/a'\nsecret_key_file = '/nowhere/s'\n",
    )

    with pytest.raises(ExportError, match="'far' cannot read the key in /nowhere/a"):
        async with open_destinations(config.exports):
            raise AssertionError("it was opened")
