"""Several stores in one configuration, and the secrets that none of its files may hold."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from imaged.config import Config
from imaged.config.model import compare_configs
from imaged.config.stores import FilesystemSection, S3Section
from imaged.core.errors import StoreError
from imaged.core.secret import Secret
from imaged.daemon.settings import password_file, s3_settings, store_facts
from support.settings import config_of, problems_of

ACCESS, SECRET = "made-up-canary-access", "made-up-canary-secret"
CLOUD = "[stores]\ndefault = 'cloud'\n[stores.cloud]\ntype = 's3'\nbucket = 'images'\n"
KEYS = {"IMAGED_STORES__CLOUD__ACCESS_KEY": ACCESS, "IMAGED_STORES__CLOUD__SECRET_KEY": SECRET}


def bucket_of(config: Config) -> S3Section:
    """The store in a bucket."""
    store = config.stores.by_name["cloud"]
    assert isinstance(store, S3Section)
    return store


def folders(*paths: Path) -> str:
    """A file with a store in each of these folders."""
    tables = [
        f"[stores.s{number}]\ntype = 'filesystem'\npath = '{path}'\n"
        for number, path in enumerate(paths)
    ]
    return "[stores]\ndefault = 's0'\n" + "".join(tables)


def buckets(*settings: str) -> str:
    """A file with a store for each of these settings."""
    tables = [f"[stores.s{number}]\ntype = 's3'\n{text}\n" for number, text in enumerate(settings)]
    return "[stores]\ndefault = 's0'\n" + "".join(tables)


@pytest.mark.parametrize("other", ["a", "a/b", "a/", "x/../a", ".", "link", "link/b"])
def test_no_folder_may_belong_to_two_stores(tmp_path: Path, other: str) -> None:
    """Nor lie in that of another one, however it is written."""
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")

    (problem,) = problems_of(tmp_path, folders(tmp_path / "a", Path(f"{tmp_path}/{other}")))

    assert "stores.s1: must not have the same folder as s0, or one in the other" in problem


@pytest.mark.parametrize(
    "other",
    [
        "bucket = 'images'",
        "bucket = 'images'\nprefix = ''",
        "bucket = 'images'\nprefix = '/'",
        "bucket = 'images'\nregion = 'eu-west-1'",
    ],
)
def test_no_folder_of_a_bucket_may_belong_to_two_stores(tmp_path: Path, other: str) -> None:
    """Whatever else is different."""
    (problem,) = problems_of(tmp_path, buckets("bucket = 'images'", other))

    assert "stores.s1: must not have the same bucket and the same prefix as s0" in problem


def test_stores_in_different_places_go_together(tmp_path: Path) -> None:
    """Folders side by side, buckets, folders of one bucket, buckets of one name elsewhere."""
    neighbours = config_of(tmp_path, folders(tmp_path / "a", tmp_path / "ab", tmp_path / "b/a"))
    apart = config_of(
        tmp_path,
        buckets(
            "bucket = 'images'",
            "bucket = 'images-2'",
            "bucket = 'images'\nprefix = 'far'",
            "bucket = 'images'\nendpoint = 'https://s3.example.net'",
        ),
    )

    assert [len(config.stores.by_name) for config in (neighbours, apart)] == [3, 4]


@pytest.mark.parametrize("name", ["access_key", "secret_key"])
@pytest.mark.parametrize("place", ["imaged.toml", "conf.d/keys.toml"])
def test_a_secret_in_a_file_of_settings_is_refused(tmp_path: Path, name: str, place: str) -> None:
    """And its author is told where it belongs; it is not repeated."""
    (tmp_path / "conf.d").mkdir()
    text = f"[stores.cloud]\n{name} = '{SECRET}'\n"
    (tmp_path / "conf.d/keys.toml").write_text(text if place.startswith("conf.d") else "")
    text = f"{CLOUD}{name} = '{SECRET}'\n" if place == "imaged.toml" else CLOUD

    problem, *_ = problems_of(tmp_path, text, **KEYS)

    line = len((tmp_path / place).read_text().splitlines())
    told_of = "" if place == "imaged.toml" else f"{tmp_path / place}:{line}: "
    assert problem.startswith(f"{told_of}stores.cloud.{name}: is a secret")
    for way in (f"{name}_file", f"IMAGED_STORES__CLOUD__{name.upper()}", f"stores.cloud.{name}"):
        assert way in problem
    assert SECRET not in problem


FILES = "access_key_file = '{folder}/access'\nsecret_key_file = '{folder}/secret'"


@pytest.mark.parametrize(
    ("files", "environment", "keys"),
    [
        (FILES.replace("{folder}", "/none"), KEYS, (Secret(ACCESS), Secret(SECRET))),
        (FILES, {}, (Secret(ACCESS), Secret(SECRET))),
        ("", {}, (None, None)),
    ],
)
def test_where_keys_come_from(
    tmp_path: Path, files: str, environment: dict[str, str], keys: tuple[Secret | None, ...]
) -> None:
    """The most explicit place, the environment, wins over files; of these, the first line counts,
    without white space. Without keys the library looks at its own places.
    """
    (tmp_path / "access").write_text(f"{ACCESS}\n")
    (tmp_path / "secret").write_text(f"  {SECRET} \n\n")
    config = config_of(tmp_path, CLOUD + files.replace("{folder}", str(tmp_path)), **environment)

    settings = s3_settings("cloud", bucket_of(config))

    assert (settings.access_key, settings.secret_key) == keys


def test_keys_come_from_credentials_of_systemd(tmp_path: Path) -> None:
    """Files named like settings, which win over what a file of settings names; others are ours."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "stores.cloud.access_key").write_text(ACCESS)
    (credentials / "stores.cloud.secret_key").write_text(SECRET)
    (credentials / "catalog.password").write_text("made-up")
    (credentials / "another.key").write_text("his")
    (credentials / "tls-key").write_text("his")
    text = f"{CLOUD}access_key_file = '/none'\nsecret_key_file = '/none'"

    config = config_of(tmp_path, text, CREDENTIALS_DIRECTORY=str(credentials))
    settings = s3_settings("cloud", bucket_of(config))

    assert (settings.access_key, settings.secret_key) == (Secret(ACCESS), Secret(SECRET))
    assert password_file(config) == credentials / "catalog.password"


def test_a_credential_that_means_nothing_is_a_problem(tmp_path: Path) -> None:
    """A mistyped name is reported, not ignored."""
    (tmp_path / "stores.cloud.secret_kye").write_text(SECRET)

    (problem,) = problems_of(tmp_path, CLOUD, CREDENTIALS_DIRECTORY=str(tmp_path))

    assert (
        problem
        == "credentials: stores.cloud.secret_kye: is not the name of a setting that a file can set"
    )


@pytest.mark.parametrize(
    ("content", "why"), [(None, "No such file"), (b"", "no key"), (b"\xff\xfe\n", "no key")]
)
def test_a_file_without_a_key_is_an_error_of_the_store(
    tmp_path: Path, content: bytes | None, why: str
) -> None:
    """With the file and the reason."""
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)
    config = config_of(tmp_path, f"{CLOUD}access_key_file = '{file}'\nsecret_key_file = '{file}'")

    with pytest.raises(StoreError, match=why) as caught:
        s3_settings("cloud", bucket_of(config))

    assert str(file) in str(caught.value)


def test_secrets_are_shown_nowhere(tmp_path: Path) -> None:
    """Not by the configuration, its differences, the settings of the store, or the API."""
    secrets = {**KEYS, "IMAGED_CATALOG__URL": f"postgresql://imaged:{SECRET}@db/imaged"}
    before = config_of(tmp_path, CLOUD, **secrets)
    after = config_of(tmp_path, CLOUD, **{name: f"{text}-2" for name, text in secrets.items()})
    changes = compare_configs(before, after)
    settings = s3_settings("cloud", bucket_of(before))

    shown = f"{before!r} {before} {changes!r} {settings!r} {before.stores.model_dump()} "
    shown += f"{before.stores.model_dump_json()} {store_facts(before)!r}"

    assert ACCESS not in shown
    assert SECRET not in shown
    assert changes.restart_needed == ["catalog.url", "stores.cloud"]
    assert changes.applied == {}


def test_every_setting_reaches_the_store(tmp_path: Path) -> None:
    """None is forgotten on its way."""
    text = f"""{CLOUD}
        endpoint = "https://s3.example.net/"
        prefix = "a/b/"
        region = "eu-west-1"
        addressing = "virtual"
        ca_file = "/etc/ssl/ours.pem"
        part_size = "16MiB"
        parts_in_flight = 3
        checksum = "md5"
        connect_timeout = "2s"
        read_timeout = "7s"
        attempts = 2
        retry_for = "11s"
    """
    config = config_of(tmp_path, text, **KEYS)
    default = s3_settings("cloud", S3Section(type="s3", bucket="other"))

    settings = s3_settings("cloud", bucket_of(config))

    for field in fields(settings):
        if field.default is MISSING:  # others are constants of the driver
            assert getattr(settings, field.name) != getattr(default, field.name), field.name
    assert settings.endpoint == "https://s3.example.net"
    assert settings.root == "a/b/"


def test_what_the_api_tells_is_no_secret_and_no_guess(tmp_path: Path) -> None:
    """Names and kinds as clients of the API know them."""
    text = f"{CLOUD}description = 'far away'\n" + folders(tmp_path / "a").partition("\n")[
        2
    ].replace("default = 's0'\n", "")

    cloud, folder = store_facts(config_of(tmp_path, text, **KEYS))

    assert (cloud.id, cloud.type, cloud.is_default) == ("cloud", "s3", True)
    assert cloud.description == "far away"
    assert cloud.properties == {
        "endpoint": "",
        "region": "us-east-1",
        "bucket": "images",
        "prefix": "",
    }
    assert (folder.id, folder.type, folder.is_default) == ("s0", "file", False)
    assert folder.properties == {"data_dir": str(tmp_path / "a")}


def test_the_default_store_can_be_changed_in_kind(tmp_path: Path) -> None:
    """A table [stores.local] that says what it is has nothing of the default one."""
    config = config_of(tmp_path, "[stores.local]\ntype = 's3'\nbucket = 'images'")
    same = config_of(tmp_path, "[stores.local]\nmin_free = '0'")

    assert isinstance(config.stores.by_name["local"], S3Section)
    assert isinstance(same.stores.by_name["local"], FilesystemSection)
