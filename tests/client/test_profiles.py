"""Servers with a name: remembered ones, and clouds of clouds.yaml as openstacksdk reads it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from openstack.config import OpenStackConfig

from imaged.cli.transfers import TransferOptions
from imaged.client.clouds import read_cloud
from imaged.client.errors import EndpointInvalid, ProfileInvalid
from imaged.client.http_session import Endpoint, read_endpoint
from imaged.client.profiles import (
    Profiles,
    profile_name,
    profiles_file,
    read_profiles,
    write_profiles,
)

A, B = "http://a.example:9292", "http://b.example:9292"
TOKEN = "made-up"
REGIONS = (("north", A), ("south", B))

#: Clouds that need no Keystone, in the words that openstacksdk allows.
CLOUDS: dict[str, dict[str, Any]] = {
    "endpoint": {"auth_type": "none", "auth": {"endpoint": A}},
    "override": {"auth_type": "none", "image_endpoint_override": A},
    "both": {"auth_type": "none", "auth": {"endpoint": B}, "image_endpoint_override": A},
    "dashes": {"auth_type": "none", "image-endpoint-override": A},
    "outside": {"auth_type": "none", "endpoint": A},
    "null": {"auth_type": None, "auth": {"endpoint": A}},
    "spelled": {"auth_type": "None", "auth": {"endpoint": A}},
    "version": {"auth_type": "none", "auth": {"endpoint": f"{A}/v2"}},
    "token": {"auth_type": "admin_token", "auth": {"endpoint": A, "token": TOKEN}},
    "url": {"auth_type": "admin_token", "auth": {"url": A, "token": TOKEN}},
    "alias": {"auth_type": "token_endpoint", "auth": {"endpoint": A, "token": TOKEN}},
    "above": {"auth_type": "admin_token", "token": TOKEN, "auth": {"endpoint": A, "token": "x"}},
    "old": {"auth_type": "admin_token", "auth": {"endpoint": A, "auth-token": TOKEN}},
    "number": {"auth_type": "admin_token", "auth": {"endpoint": A, "token": 12345}},
    "moved": {
        "auth_type": "admin_token",
        "image_endpoint_override": A,
        "auth": {"endpoint": B, "token": TOKEN},
    },
    "region": {"auth_type": "none", "image_endpoint_override": A, "region_name": "north"},
    "regions": {"auth_type": "none", "regions": ["north", "south"], "auth": {"endpoint": A}},
    "of-region": {
        "auth_type": "none",
        "auth": {"endpoint": B},
        "regions": [{"name": "north", "values": {"image-endpoint-override": A}}, "south"],
    },
    "auth-of-region": {
        "auth_type": "admin_token",
        "auth": {"endpoint": B, "token": TOKEN},
        "regions": [{"name": "north", "values": {"auth": {"endpoint": A}, "auth_type": None}}],
    },
}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's folder, which is the current one too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.chdir(tmp_path)
        yield tmp_path


def write_clouds(file: Path, clouds: object) -> None:
    """A file of clouds."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump({"clouds": clouds}))


# remembered servers


def test_servers_are_remembered(home: Path) -> None:
    """With their tokens and certificates, in a file that others cannot read; the last is used."""
    (home / "ca.pem").touch()
    servers = {
        "a": read_endpoint(A, token=TOKEN),
        "b.example:9292": read_endpoint("https://b", ca_file=home / "ca.pem"),
        "here": read_endpoint("unix:/run/imaged/api.sock"),
    }
    profiles = Profiles()
    for name, server in servers.items():
        profiles = profiles.with_server(name, server)
    file = profiles_file({})
    write_profiles(file, profiles)

    assert read_profiles(file) == Profiles(servers, "here")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["profiles.toml"]

    forgotten = profiles.without("here")
    write_profiles(file, forgotten)
    assert read_profiles(file) == forgotten
    assert (forgotten.default, forgotten.with_default("a").default) == (None, "a")


def test_missing_certificates_of_one_server_are_in_the_way_of_no_other(home: Path) -> None:
    """The others are used, and it can be forgotten."""
    (trusted := home / "ca.pem").touch()
    server = read_endpoint("https://b", ca_file=trusted)
    profiles = Profiles().with_server("b", server).with_server("a", read_endpoint(A))
    write_profiles(profiles_file({}), profiles)
    trusted.unlink()

    assert TransferOptions().endpoint({}).url == A
    with pytest.raises(EndpointInvalid, match=f"no file {trusted}"):
        TransferOptions(profile="b").endpoint({})
    assert "b" not in read_profiles(profiles_file({})).without("b").servers


def test_the_file_may_be_a_link(home: Path) -> None:
    """It stays one."""
    kept = home / "dotfiles/profiles.toml"
    kept.parent.mkdir()
    file = profiles_file({})
    file.parent.mkdir(parents=True)
    file.symlink_to(kept)
    write_profiles(file, Profiles().with_server("a", read_endpoint(A)))

    assert file.is_symlink()
    assert "a" in read_profiles(kept).servers


def test_tokens_that_others_can_read_are_not_used(home: Path) -> None:
    """The error says what to type; without tokens there is nothing to hide."""
    file = profiles_file({"XDG_CONFIG_HOME": str(home)})
    assert file == home / "imaged/profiles.toml"
    write_profiles(file, Profiles().with_server("a", read_endpoint(A, token=TOKEN)))
    file.chmod(0o640)
    with pytest.raises(ProfileInvalid) as refused:
        read_profiles(file)
    assert f"chmod 600 {file}" in refused.value.remedy

    file.write_text(f'[profiles.a]\nurl = "{A}"\n')
    assert read_profiles(file).servers == {"a": read_endpoint(A)}


@pytest.mark.parametrize("text", ["profiles = 1", "[profiles]\na = 1", "no TOML", "\udcff"])
def test_a_broken_file_is_named(home: Path, text: str) -> None:
    """It is not taken for an empty one, and overwritten."""
    file = home / "profiles.toml"
    file.write_text(text, errors="surrogateescape")
    with pytest.raises(ProfileInvalid, match=r"profiles\.toml"):
        read_profiles(file)


@pytest.mark.parametrize("name", ["", "-a", "two words", "a" * 65, "a/b"])
def test_wrong_names_are_refused(name: str) -> None:
    """The error says what is allowed."""
    with pytest.raises(ProfileInvalid, match="cannot be the name"):
        Profiles().with_server(name, read_endpoint(A))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://images.example.net", "images.example.net"),
        ("http://127.0.0.1:9292", "127.0.0.1:9292"),
        ("http://[::1]:9292", "1-:9292"),
        ("https://h/image/v2", "h-image"),
        ("unix:/run/imaged/api.sock", "api"),
    ],
)
def test_a_server_has_a_name_without_a_given_one(address: str, name: str) -> None:
    """It can be a name of a profile."""
    server = read_endpoint(address)

    assert profile_name(server) == name
    assert name in Profiles().with_server(name, server).servers


# clouds


@pytest.mark.filterwarnings("ignore:Support for InfluxDB")  # which nothing here uses
@pytest.mark.parametrize("name", CLOUDS)
def test_clouds_are_those_of_openstacksdk(home: Path, name: str) -> None:
    """The address of the image service, and the token."""
    write_clouds(home / "clouds.yaml", CLOUDS)
    config = OpenStackConfig(
        config_files=[str(home / "clouds.yaml")], secure_files=[], load_envvars=False
    )
    region = config.get_one(name)
    session = region.get_session()
    found = read_cloud(name, {})

    address = region.get_session_client("image").get_endpoint()
    assert found.url == read_endpoint(str(address)).url
    assert (found.token or "notused") == session.get_token()  # its word for none


def test_a_region_has_its_own_service(home: Path) -> None:
    """OS_REGION_NAME chooses one, as for `openstack`; else it is the first."""
    regions = [{"name": name, "values": {"image_endpoint_override": url}} for name, url in REGIONS]
    write_clouds(home / "clouds.yaml", {"lab": {"auth_type": "none", "regions": regions}})

    assert read_cloud("lab", {}).url == A
    assert read_cloud("lab", {"OS_REGION_NAME": "south"}).url == B
    with pytest.raises(ProfileInvalid, match="has no region west") as refused:
        read_cloud("lab", {"OS_REGION_NAME": "west"})
    assert "It has: north, south." in refused.value.remedy


def test_secrets_may_be_in_a_file_of_their_own(home: Path) -> None:
    """secure.yaml, which goes before clouds.yaml, as for openstacksdk; variables name others."""
    write_clouds(
        home / ".config/openstack/clouds.yaml",
        {"lab": {"auth_type": "admin_token", "auth": {"endpoint": A, "token": "old"}}},
    )
    write_clouds(home / "other/secure.yaml", {"lab": {"auth": {"token": "other"}}})
    write_clouds(home / ".config/openstack/secure.yaml", {"lab": {"auth": {"token": TOKEN}}})
    write_clouds(
        home / "other/clouds.json", {"lab": {"auth_type": "none", "auth": {"endpoint": B}}}
    )

    assert read_cloud("lab", {}) == Endpoint(A, token=TOKEN)
    secure = {"OS_CLIENT_SECURE_FILE": str(home / "other/secure.yaml")}
    assert read_cloud("lab", secure) == Endpoint(A, token="other")
    clouds = {"OS_CLIENT_CONFIG_FILE": str(home / "other/clouds.json")}
    assert read_cloud("lab", clouds) == Endpoint(B)


def test_the_first_file_counts(home: Path) -> None:
    """That of this folder, of the user, of the system."""
    places = [home / name for name in ("clouds.yml", "xdg/openstack/clouds.yaml", "etc/openstack")]
    for number, place in enumerate([*places[:2], places[2] / "clouds.yaml"]):
        write_clouds(
            place, {"lab": {"auth_type": "none", "auth": {"endpoint": f"http://{number}"}}}
        )
    where = {"XDG_CONFIG_HOME": str(home / "xdg"), "XDG_CONFIG_DIRS": f"/nowhere:{home}/etc"}

    assert read_cloud("lab", where).url == "http://0"
    places[0].unlink()
    assert read_cloud("lab", where).url == "http://1"
    places[1].unlink()
    assert read_cloud("lab", where).url == "http://2"


@pytest.mark.parametrize(
    ("cloud", "said"),
    [
        ({"auth_type": "none"}, "does not say where its image service is"),
        ({"auth_type": "admin_token", "auth": {"endpoint": A}}, "has no token"),
        ({"auth_type": "none", "endpoint": A, "verify": False}, "certificates"),
        ({"auth_type": "none", "endpoint": A, "insecure": True}, "certificates"),
        ({"auth_type": ["none"], "endpoint": A}, "none that imaged's commands can use"),
        ({"auth_type": "none", "auth": A}, "auth is no table"),
        (
            {"auth_type": "none", "endpoint": A, "profile": "v"},
            "vendor profile v, which clouds-public",
        ),
        (
            {"auth_type": "none", "endpoint": A, "cloud": "v"},
            "vendor profile v, which clouds-public",
        ),
        ({"auth_type": "none", "endpoint": A, "regions": [{"values": {}}]}, "regions is no list"),
        ({"auth_type": "none", "endpoint": A, "regions": 3}, "regions is no list"),
        ({"auth_type": "none", "endpoint": A, "regions": [{"name": "n", "x": A}]}, "regions is"),
        ("text", "has no cloud lab"),
    ],
)
def test_clouds_that_cannot_be_used_are_refused(home: Path, cloud: object, said: str) -> None:
    """A sentence says why, and another what to do."""
    write_clouds(home / "clouds.yaml", {"lab": cloud})
    with pytest.raises(ProfileInvalid, match=said) as refused:
        read_cloud("lab", {})
    assert refused.value.remedy


@pytest.mark.parametrize("text", ["a: [", "clouds: 1", "", "\udcff", "a: 2026-99-99"])
def test_broken_clouds_are_named(home: Path, text: str) -> None:
    """A file that cannot be read is no reason to use another server."""
    (home / "clouds.yaml").write_text(text, errors="surrogateescape")
    with pytest.raises(ProfileInvalid, match=r"clouds\.yaml"):
        read_cloud("lab", {})


@pytest.mark.parametrize("value", [f"{TOKEN}: x", f"*{TOKEN}", f"!!int {TOKEN}"])
def test_broken_clouds_tell_no_token(home: Path, value: str) -> None:
    """The error has the line, and nothing of it."""
    (home / "clouds.yaml").write_text(f"clouds:\n  lab:\n    auth: x\n    token: {value}\n")
    with pytest.raises(ProfileInvalid, match=r"clouds\.yaml is not valid YAML") as refused:
        read_cloud("lab", {})
    assert TOKEN not in str(refused.value)
    assert TOKEN not in refused.value.remedy


# the order


ORDER: list[tuple[str, TransferOptions, dict[str, str], str, str | None]] = [
    (
        "an option",
        TransferOptions(url="http://option"),
        {"IMAGED_URL": "http://variable", "IMAGED_TOKEN": TOKEN},
        "http://option",
        TOKEN,
    ),
    (
        "the option of a profile",
        TransferOptions(profile="other"),
        {"IMAGED_URL": "http://variable", "IMAGED_TOKEN": "of-a-variable"},
        "http://other",
        "of-other",
    ),
    (
        "the option of a cloud",
        TransferOptions(profile="lab"),
        {"IMAGED_TOKEN": "of-a-variable"},
        "http://cloud",
        "of-cloud",
    ),
    (
        "the option for clouds alone",
        TransferOptions(cloud="lab"),
        {"IMAGED_URL": "http://variable", "IMAGED_PROFILE": "other", "OS_TOKEN": "of-a-variable"},
        "http://cloud",
        "of-cloud",
    ),
    (
        "a variable",
        TransferOptions(),
        {"IMAGED_URL": "http://variable", "IMAGED_PROFILE": "other", "OS_CLOUD": "lab"},
        "http://variable",
        None,
    ),
    (
        "a variable of a profile",
        TransferOptions(),
        {"IMAGED_PROFILE": "other", "OS_ENDPOINT": "http://variable", "OS_TOKEN": "of-a-variable"},
        "http://other",
        "of-other",
    ),
    (
        "a variable of OpenStack",
        TransferOptions(),
        {"OS_ENDPOINT": "http://variable", "OS_CLOUD": "lab", "OS_TOKEN": TOKEN},
        "http://variable",
        TOKEN,
    ),
    (
        "the last login",
        TransferOptions(),
        {"OS_CLOUD": "lab", "OS_TOKEN": "of-a-variable"},
        "http://last",
        "of-last",
    ),
]


@pytest.mark.parametrize(
    ("options", "environment", "url", "token"),
    [case[1:] for case in ORDER],
    ids=[case[0] for case in ORDER],
)
def test_the_order_of_servers(
    home: Path, options: TransferOptions, environment: dict[str, str], url: str, token: str | None
) -> None:
    """Options, variables, the last login; each with its own token, which goes nowhere else."""
    remember(home)
    found = options.endpoint(environment)

    assert (found.url, found.token) == (url, token)


def remember(home: Path) -> None:
    """Two servers, of which the last is used, and a cloud."""
    profiles = Profiles()
    for name in ("other", "last"):
        server = read_endpoint(f"http://{name}", token=f"of-{name}")
        profiles = profiles.with_server(name, server)
    write_profiles(profiles_file({}), profiles)
    auth = {"endpoint": "http://cloud", "token": "of-cloud"}
    write_clouds(home / "clouds.yaml", {"lab": {"auth_type": "admin_token", "auth": auth}})


def test_the_order_without_a_login(home: Path) -> None:
    """The cloud of OS_CLOUD, then the local daemon: a cloud that is not named is not used."""
    remember(home)
    profiles_file({}).unlink()
    (home / "imaged.toml").write_text('[api]\nbind = ["127.0.0.1:7"]')
    cloud, local = TransferOptions(), TransferOptions(file=home / "imaged.toml")

    assert cloud.endpoint({"OS_CLOUD": "lab"}).url == "http://cloud"
    assert cloud.endpoint({"IMAGED_API__BIND": "127.0.0.1:8"}).url == "http://127.0.0.1:8"
    assert local.endpoint({"OS_CLOUD": "lab", "IMAGED_URL": A}).url == "http://127.0.0.1:7"


def test_files_of_options_go_before_those_of_a_profile(home: Path) -> None:
    """The token and the certificates."""
    remember(home)
    (home / "token").write_text("of-a-file\n")
    (home / "ca.pem").touch()
    options = TransferOptions(token_file=home / "token", ca_file=home / "ca.pem")
    found = options.endpoint({})

    assert (found.url, found.token, found.ca_file) == (
        "http://last",
        "of-a-file",
        home / "ca.pem",
    )


def test_an_unknown_profile_is_refused(home: Path) -> None:
    """With the known ones; two servers at once are refused too."""
    remember(home)
    with pytest.raises(ProfileInvalid) as refused:
        TransferOptions(profile="none").endpoint({})
    assert "last, other" in refused.value.remedy
    with pytest.raises(click.UsageError, match="use one"):
        TransferOptions(profile="last", url=A).endpoint({})
    with pytest.raises(click.UsageError, match="use one"):
        TransferOptions(profile="last", cloud="lab").endpoint({})
