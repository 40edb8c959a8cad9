"""Settings of clouds with a Keystone: who signs in where, as openstacksdk reads them."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from openstack.config import OpenStackConfig

from imaged.cli.transfers import TransferOptions
from imaged.client.cloud_settings import read_settings
from imaged.client.clouds import read_cloud, read_variables, signs_in
from imaged.client.errors import ProfileInvalid
from imaged.client.http_session import Endpoint, read_endpoint
from imaged.client.keystone import sign_in
from imaged.client.keystone_account import Source
from imaged.client.profiles import Profiles, profile_name, read_profiles, write_profiles
from support.scripted_keystone import ScriptedKeystone

IMAGES = "http://images.example:9292"
KEYSTONE = "http://keystone.example:5000/v3"
TOKEN, PASSWORD = "made-up-token", "made-up-password"
USER = {"username": "ann", "password": PASSWORD, "user_domain_name": "Users"}
PROJECT = {"project_name": "web", "project_domain_name": "Projects"}
CREDENTIAL = {"application_credential_secret": PASSWORD}
LAB = Source("The cloud lab", lambda key: f"{key} in clouds.yaml")

#: Clouds in words that openstacksdk allows; ``auth_url`` is added to each.
CLOUDS: dict[str, dict[str, Any]] = {
    "names": {"auth": USER | PROJECT},
    "ids": {"auth": {"user_id": "u1", "password": PASSWORD, "project_id": "p1"}},
    "id-first": {"auth": USER | PROJECT | {"project_id": "p1"}},
    "v3password": {"auth_type": "v3password", "auth": USER | PROJECT},
    "dashes": {"auth": {"user-id": "u1", "password": PASSWORD, "project-id": "p1"}},
    "tenant": {"auth": USER | {"tenant_name": "web", "project_domain_id": "d1"}},
    "outside": {"username": "bob", "project_id": "p2", "auth": USER | {"project_id": "p1"}},
    "password-outside": {"password": "other", "auth": {"user_id": "u1", "project_id": "p1"}},
    "one-domain": {"auth": {"username": "ann", "password": PASSWORD, "domain_name": "Both",
                            "project_name": "web"}},
    "domain-scope": {"auth": USER | {"domain_id": "d1"}},
    "system-scope": {"auth": USER | {"system_scope": "all"}},
    "trust": {"auth": USER | {"trust_id": "t1"}},
    "default-domain": {"auth": {"username": "ann", "password": PASSWORD, "project_name": "web",
                                "default_domain_id": "d1"}},
    "no-scope": {"auth": USER},
    "number": {"auth": {"username": 12, "password": 34, "user_domain_id": 5, "project_id": 6}},
    "credential": {"auth_type": "v3applicationcredential",
                   "auth": CREDENTIAL | {"application_credential_id": "c1"}},
    "credential-name": {"auth_type": "v3applicationcredential",
                        "auth": CREDENTIAL | {"application_credential_name": "c", "username": "ann",
                                              "user_domain_name": "Users"}},
    "token": {"auth_type": "token", "auth": {"token": TOKEN, "project_id": "p1"}},
    "v3token": {"auth_type": "v3token", "token": TOKEN, "auth": {"project_id": "p1"}},
    "old-token": {"auth_type": "token", "auth": {"auth_token": TOKEN, "project_id": "p1"}},
    "in-region": {"auth": USER, "regions": [{"name": "north", "values": {"auth": PROJECT}}]},
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder, which is the current one too."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_clouds(file: Path, clouds: Mapping[str, Any], table: str = "clouds") -> None:
    """A file of clouds."""
    file.write_text(yaml.safe_dump({table: clouds}))


def account_of(endpoint: Endpoint) -> Any:
    """The account, which must be there."""
    assert endpoint.account is not None
    return endpoint.account


@pytest.mark.asyncio
@pytest.mark.filterwarnings("ignore:Support for InfluxDB", "ignore:Comma separated")
@pytest.mark.parametrize("name", CLOUDS)
async def test_requests_for_tokens_are_those_of_openstacksdk(home: Path, name: str) -> None:
    """Byte for byte the same user, secret and scope."""
    async with ScriptedKeystone().running() as keystone:
        cloud = CLOUDS[name] | {"image_endpoint_override": IMAGES}
        cloud["auth"] = {**cloud["auth"], "auth_url": f"{keystone.url}/v3"}
        write_clouds(home / "clouds.yaml", {"lab": cloud})
        config = OpenStackConfig(
            config_files=[str(home / "clouds.yaml")], secure_files=[], load_envvars=False
        )
        await to_thread(config.get_one("lab").get_session().get_token)
        endpoint = read_cloud("lab", {})
        await sign_in(account_of(endpoint), endpoint.address, None)

    theirs, ours = keystone.logins
    assert ours == theirs


def test_a_cloud_says_where_its_service_is(home: Path) -> None:
    """Region, interface, address and certificates; OS_REGION_NAME goes before."""
    cloud = {
        "auth": {"auth_url": KEYSTONE, **USER, **PROJECT},
        "region_name": "north",
        "interface": "internalURL",
        "cacert": "~/ca.pem",
    }
    write_clouds(home / "clouds.yaml", {"lab": cloud, "moved": {**cloud, "regions": ["a", "b"]}})
    found = read_cloud("lab", {})
    account = account_of(found)
    override = read_cloud("lab", {}).address

    assert (account.region, account.interface, override) == ("north", "internal", "")
    assert found.ca_file == home / "ca.pem"
    assert account_of(read_cloud("moved", {})).region == "a"
    assert account_of(read_cloud("moved", {"OS_REGION_NAME": "b"})).region == "b"
    assert PASSWORD not in repr(found) + repr(account) + str(found)


def test_a_vendor_is_in_clouds_public(home: Path) -> None:
    """Its settings are beneath those of the cloud, and may name the region in the address."""
    vendor = {"auth": {"auth_url": "http://{region_name}.example/v3"}, "region_name": "north"}
    write_clouds(home / "clouds-public.yaml", {"v": vendor}, "public-clouds")
    write_clouds(home / "clouds.yaml", {"lab": {"profile": "v", "auth": USER | PROJECT}})
    account = account_of(read_cloud("lab", {}))

    assert (account.url, account.region) == ("http://north.example/v3", "north")


@pytest.mark.parametrize(
    ("url", "used"),
    [
        ("http://h:5000", "http://h:5000/v3"),
        ("http://h/identity/v3/", "http://h/identity/v3"),
        ("http://h:5000/v2.0", "http://h:5000/v3"),
    ],
)
def test_keystone_with_and_without_its_version(url: str, used: str) -> None:
    """It is always asked by its version 3."""
    endpoint = read_settings({"auth": {"auth_url": url, **USER, **PROJECT}}, LAB)

    assert account_of(endpoint).url == used


def test_a_token_for_a_known_address_needs_no_keystone() -> None:
    """Unless it is wanted for another scope."""
    cloud = {"auth": {"auth_url": KEYSTONE, "token": TOKEN}, "image_endpoint_override": IMAGES}
    scoped = {**cloud, "auth": {**cloud["auth"], "project_id": "p1"}}  # type: ignore[dict-item]

    assert read_settings(cloud, LAB) == Endpoint(IMAGES, token=TOKEN)
    assert account_of(read_settings(scoped, LAB)).scope == {"project": {"id": "p1"}}


REFUSED: dict[str, tuple[dict[str, Any], str, str]] = {
    "no address": ({"auth": USER}, "has no auth_url", "Set auth_url in"),
    "no user": ({"auth": {"auth_url": KEYSTONE}}, "no username or user_id", "Set username in"),
    "no password": (
        {"auth": {"auth_url": KEYSTONE, "username": "ann"}},
        "The cloud lab has no password",
        "Set password in clouds.yaml.",
    ),
    "another type": (
        {"auth": {"auth_url": KEYSTONE, **CREDENTIAL}},
        "no username",
        "Or set auth_type in clouds.yaml to v3applicationcredential",
    ),
    "unknown type": (
        {"auth_type": "v3oidcpassword", "auth": {"auth_url": KEYSTONE}},
        "auth_type v3oidcpassword is none that",
        "`openstack token issue`",
    ),
    "no token": (
        {"auth_type": "token", "auth": {"auth_url": KEYSTONE}}, "has no token", "Set token in"
    ),
    "two scopes": (
        {"auth": {"auth_url": KEYSTONE, **USER, **PROJECT, "system_scope": "all"}},
        "has project_name and system_scope: a token is for one",
        "Remove system_scope in",
    ),
    "scoped credential": (
        {"auth_type": "v3applicationcredential",
         "auth": {"auth_url": KEYSTONE, **CREDENTIAL, "application_credential_id": "c", **PROJECT}},
        "an application credential has a project of its own",
        "Remove project_name in",
    ),
    "credential without a user": (
        {"auth_type": "v3applicationcredential",
         "auth": {"auth_url": KEYSTONE, **CREDENTIAL, "application_credential_name": "c"}},
        "has no user, whose application credential",
        "application_credential_id in clouds.yaml instead of the name",
    ),
    "unverified": (
        {"verify": False, "auth": {"auth_url": KEYSTONE, **USER, **PROJECT}},
        "certificates",
        "Set cacert in",
    ),
    "regions": (
        {"region_name": 3, "auth": {"auth_url": KEYSTONE, **USER, **PROJECT}},
        "region_name is no text",
        "Set region_name in",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("cloud", "said", "remedy"), REFUSED.values(), ids=REFUSED)
def test_settings_that_cannot_sign_in_are_refused(
    cloud: dict[str, Any], said: str, remedy: str
) -> None:
    """The error names what is missing, and where to write it; never a secret."""
    with pytest.raises(ProfileInvalid, match=said) as refused:
        read_settings(cloud, LAB)

    assert remedy in refused.value.remedy
    assert PASSWORD not in str(refused.value) + refused.value.remedy


def test_errors_name_the_file_or_the_variable(home: Path) -> None:
    """Of a cloud, of the environment, of a profile."""
    file = home / "clouds.yaml"
    write_clouds(file, {"lab": {"auth": {"auth_url": KEYSTONE}}})
    remembered = home / "profiles.toml"
    remembered.write_text(f'[profiles.lab.auth]\nauth_url = "{KEYSTONE}"\n')
    with pytest.raises(ProfileInvalid) as of_cloud:
        read_cloud("lab", {})
    with pytest.raises(ProfileInvalid) as of_variables:
        read_variables({"OS_AUTH_URL": KEYSTONE, "OS_USERNAME": "ann"})
    with pytest.raises(ProfileInvalid) as of_profile:
        read_profiles(remembered)

    assert of_cloud.value.remedy == f"Set auth.username in {file}."
    assert of_variables.value.remedy == "Set OS_PASSWORD."
    assert of_profile.value.remedy == f"Set username of lab in {remembered}."


# variables

OPENRC = {
    "OS_AUTH_URL": KEYSTONE,
    "OS_USERNAME": "ann",
    "OS_PASSWORD": PASSWORD,
    "OS_USER_DOMAIN_NAME": "Users",
    "OS_PROJECT_NAME": "web",
    "OS_PROJECT_DOMAIN_ID": "default",
    "OS_REGION_NAME": "",
    "OS_IDENTITY_API_VERSION": "3",
    "OS_ENDPOINT_TYPE": "internalURL",
    "OS_CLOUD": "",
    "OS_AUTH_TYPE": "",
    "OS_INTERFACE": "",
}

#: Which way to sign in a command takes: options, variables, and what says who it is.
ORDER: dict[str, tuple[TransferOptions, Mapping[str, str], str]] = {
    "openrc": (TransferOptions(), OPENRC, "the user ann"),
    "a cloud goes before": (TransferOptions(), {**OPENRC, "OS_CLOUD": "lab"}, "the user of-lab"),
    "the option goes before": (TransferOptions(cloud="lab"), OPENRC, "the user of-lab"),
    "a profile may be a cloud": (
        TransferOptions(), {**OPENRC, "IMAGED_PROFILE": "lab"}, "the user of-lab"
    ),
    "an address does not sign in": (TransferOptions(url=IMAGES), OPENRC, f"{IMAGES} None"),
    "nor does its variable": (TransferOptions(), {**OPENRC, "IMAGED_URL": IMAGES},
                              f"{IMAGES} None"),
    "an override does": (
        TransferOptions(), {**OPENRC, "OS_IMAGE_ENDPOINT_OVERRIDE": IMAGES}, "the user ann"
    ),
    "our token goes before": (
        TransferOptions(),
        {**OPENRC, "OS_IMAGE_ENDPOINT_OVERRIDE": IMAGES, "IMAGED_TOKEN": TOKEN},
        f"{IMAGES} {TOKEN}",
    ),
    "a type without Keystone": (
        TransferOptions(),
        {**OPENRC, "OS_AUTH_TYPE": "none", "OS_ENDPOINT": IMAGES, "OS_TOKEN": TOKEN},
        f"{IMAGES} {TOKEN}",
    ),
    "a token": (TransferOptions(), {"OS_AUTH_URL": KEYSTONE, "OS_TOKEN": TOKEN}, "the token"),
    "a token for an override": (
        TransferOptions(),
        {"OS_AUTH_URL": KEYSTONE, "OS_TOKEN": TOKEN, "OS_IMAGE_ENDPOINT_OVERRIDE": IMAGES},
        f"{IMAGES} {TOKEN}",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("options", "environment", "who"), ORDER.values(), ids=ORDER)
def test_the_order_of_ways_to_sign_in(
    home: Path, options: TransferOptions, environment: Mapping[str, str], who: str
) -> None:
    """Options, variables of ours, those of OpenStack."""
    auth = {"auth_url": KEYSTONE, **USER, **PROJECT, "username": "of-lab"}
    write_clouds(home / "clouds.yaml", {"lab": {"auth": auth}})
    found = options.endpoint(environment)

    assert (found.account.who if found.account else f"{found} {found.token}") == who


def test_a_login_goes_before_variables_of_openstack(home: Path) -> None:
    """A shell that has them keeps the server that its user chose."""
    file = home / ".config/imaged/profiles.toml"
    write_profiles(file, Profiles().with_server("a", read_endpoint(IMAGES)))

    assert TransferOptions().endpoint({**OPENRC, "OS_CLOUD": "lab"}) == Endpoint(IMAGES)


def test_openrc_is_read_whole() -> None:
    """Empty variables are none."""
    account = account_of(read_variables(OPENRC))

    assert account.login_document()["auth"] == {
        "identity": {
            "methods": ["password"],
            "password": {
                "user": {"name": "ann", "domain": {"name": "Users"}, "password": PASSWORD}
            },
        },
        "scope": {"project": {"name": "web", "domain": {"id": "default"}}},
    }
    assert (account.region, account.interface) == ("", "internal")
    assert not signs_in({"OS_AUTH_URL": ""})


def test_certificates_of_variables() -> None:
    """Ours go before those of OpenStack."""
    openstack = {**OPENRC, "OS_CACERT": "/theirs.pem"}

    assert read_variables(openstack).ca_file == Path("/theirs.pem")
    assert read_variables({**openstack, "IMAGED_CA_FILE": "/ours.pem"}).ca_file == Path("/ours.pem")


def test_the_token_of_an_option_goes_before(home: Path) -> None:
    """Keystone still says where the service is, unless that is known."""
    (home / "token").write_text(f"{TOKEN}\n")
    (home / "ca.pem").touch()
    options = TransferOptions(token_file=home / "token", ca_file=home / "ca.pem")
    found = options.endpoint(OPENRC)
    known = options.endpoint({**OPENRC, "OS_IMAGE_ENDPOINT_OVERRIDE": IMAGES})

    assert account_of(found).is_kept
    assert account_of(found).interface == "internal"
    assert found.ca_file == home / "ca.pem"
    assert (known.token, known.account, known.ca_file) == (TOKEN, None, home / "ca.pem")


# profiles


@pytest.mark.parametrize("name", CLOUDS)
def test_accounts_are_remembered(home: Path, name: str) -> None:
    """As they are, in a file that others cannot read."""
    cloud = CLOUDS[name] | {"region_name": "north", "interface": "internal", "cacert": "/ca.pem"}
    cloud["auth"] = {**cloud["auth"], "auth_url": KEYSTONE, **PROJECT} if name == "in-region" else {
        **cloud["auth"], "auth_url": KEYSTONE
    }  # fmt: skip
    cloud = {key.replace("-", "_"): value for key, value in cloud.items()}
    cloud["auth"] = {key.replace("-", "_"): value for key, value in cloud["auth"].items()}
    server = read_settings(cloud, LAB)
    file = home / "profiles.toml"
    write_profiles(file, Profiles().with_server(profile_name(server), server))

    assert read_profiles(file) == Profiles(
        {"keystone.example:5000-v3": server}, profile_name(server)
    )
    assert account_of(read_profiles(file).servers[profile_name(server)]).login_document() == (
        account_of(server).login_document()
    )
    file.chmod(0o644)
    with pytest.raises(ProfileInvalid, match="contains secrets"):
        read_profiles(file)
