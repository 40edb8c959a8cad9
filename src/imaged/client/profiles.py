"""Servers with a name: those that `imaged login` remembers, and the clouds of clouds.yaml.

A server comes with its own token and certificates, which are sent to it alone. The tokens are in
one file, which only its user may read. clouds.yaml is found and understood as openstacksdk
documents it, as far as no Keystone is needed; a test compares both.
"""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import mkstemp
from typing import Any

from imaged.client.errors import ProfileInvalid
from imaged.client.http_session import Endpoint, read_endpoint

CLOUD_VARIABLE = "OS_CLOUD"
REGION_VARIABLE = "OS_REGION_NAME"
CLOUDS_FILE_VARIABLE = "OS_CLIENT_CONFIG_FILE"
SECURE_FILE_VARIABLE = "OS_CLIENT_SECURE_FILE"
YAML_SUFFIXES = (".yaml", ".yml", ".json")  # JSON is YAML

#: Types of authentication that send no token, or one that never changes; with other names of them.
NO_TOKEN = ("none", "None", "", None)
FIXED_TOKEN = ("admin_token", "token_endpoint")

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}", re.ASCII)
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._:-]+", re.ASCII)
_READABLE_BY_OTHERS = 0o077


@dataclass(frozen=True, slots=True)
class Profiles:
    """The remembered servers. ``default``: the name of the one that commands use."""

    servers: Mapping[str, Endpoint] = field(default_factory=dict)
    default: str | None = None

    def with_server(self, name: str, server: Endpoint) -> Profiles:
        """With one more server, which becomes the default. Raises ProfileInvalid for the name."""
        if _NAME.fullmatch(name) is None:
            raise ProfileInvalid(
                f"{name!r} cannot be the name of a profile.",
                "Use 1 to 64 letters, digits and . _ : - after a letter or digit.",
            )
        return Profiles({**self.servers, name: server}, name)

    def without(self, name: str) -> Profiles:
        """Without one of the servers. Raises ProfileInvalid if it is not there."""
        self.require(name)
        servers = {known: server for known, server in self.servers.items() if known != name}
        return Profiles(servers, None if name == self.default else self.default)

    def with_default(self, name: str) -> Profiles:
        """With another default. Raises ProfileInvalid if it is not there."""
        self.require(name)
        return replace(self, default=name)

    def require(self, name: str) -> Endpoint:
        """The server of this name. Raises ProfileInvalid if it is not there."""
        if name not in self.servers:
            known = ", ".join(sorted(self.servers)) or "none"
            raise ProfileInvalid(
                f"No server is remembered as {name}.",
                f"Remembered: {known}. `imaged login URL --profile {name}` remembers one.",
            )
        return self.servers[name]


def profile_name(server: Endpoint) -> str:
    """The name for a server that was given none: its host and port, or its socket."""
    place = server.socket.stem if server.socket else server.url.partition("://")[2]
    return _NOT_IN_NAMES.sub("-", place).strip("-._:")[:64] or "default"


def profiles_file(environment: Mapping[str, str]) -> Path:
    """Where the user's profiles are, by the XDG Base Directory Specification."""
    return _config_home(environment) / "imaged/profiles.toml"


def read_profiles(file: Path) -> Profiles:
    """The remembered servers; none without the file. Raises ProfileInvalid, EndpointInvalid."""
    try:
        mode = file.stat().st_mode
        values = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        return Profiles()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ProfileInvalid(
            f"{file} cannot be read: {why}.", "Correct it, or remove it and log in again."
        ) from error
    tables = values.get("profiles", {})
    if not isinstance(tables, dict) or not all(isinstance(one, dict) for one in tables.values()):
        raise ProfileInvalid(f"In {file}, profiles must be tables.", "Correct or remove the file.")
    servers = {name: _endpoint_of(table) for name, table in tables.items()}
    if mode & _READABLE_BY_OTHERS and any(server.token for server in servers.values()):
        raise ProfileInvalid(
            f"Other users can read {file}, which contains tokens.", f"Run: chmod 600 {file}"
        )
    default = values.get("default")
    return Profiles(servers, default if default in servers else None)


def write_profiles(file: Path, profiles: Profiles) -> None:
    """Replace the file; no other user can read it. Raises ProfileInvalid."""
    lines = ["# Written by `imaged login`. Tokens are secrets."]
    if profiles.default is not None:
        lines.append(f"default = {_toml(profiles.default)}")
    for name, server in sorted(profiles.servers.items()):
        facts = {"url": str(server), "token": server.token, "ca_file": server.ca_file}
        lines += ["", f"[profiles.{_toml(name)}]"]
        lines += [f"{key} = {_toml(fact)}" for key, fact in facts.items() if fact]
    place = file.resolve()  # it may be a link to a file that the user keeps elsewhere
    try:
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        number, name = mkstemp(prefix=".profiles-", dir=place.parent)  # 0600
        try:
            with os.fdopen(number, "w", encoding="utf-8") as new:
                new.write("\n".join([*lines, ""]))
            Path(name).replace(place)
        except BaseException:
            Path(name).unlink()
            raise
    except OSError as error:
        raise ProfileInvalid(f"{file} cannot be written: {error.strerror}.") from error


def find_server(name: str, environment: Mapping[str, str]) -> Endpoint:
    """The remembered server or the cloud of this name. Raises ProfileInvalid, EndpointInvalid."""
    profiles = read_profiles(profiles_file(environment))
    if name not in profiles.servers and name in _read_clouds(environment):
        return read_cloud(name, environment)
    return profiles.require(name)


def read_cloud(name: str, environment: Mapping[str, str]) -> Endpoint:
    """The image service of a cloud of clouds.yaml. Raises ProfileInvalid, EndpointInvalid."""
    clouds = _read_clouds(environment)
    if not isinstance(clouds.get(name), dict):
        raise ProfileInvalid(
            f"clouds.yaml has no cloud {name}.",
            f"It has: {', '.join(map(str, clouds)) or 'none'}. Set {CLOUD_VARIABLE} to one of "
            f"them, or {CLOUDS_FILE_VARIABLE} to the file that has it.",
        )
    cloud = _in_region(name, _normalized(clouds[name]), environment.get(REGION_VARIABLE))
    auth = cloud.get("auth") or {}
    if not isinstance(auth, dict):
        raise ProfileInvalid(f"In the cloud {name}, auth is no table.", "Set endpoint in it.")
    url = cloud.get("image_endpoint_override") or auth.get("endpoint") or auth.get("url")
    url = url or cloud.get("endpoint")
    tokens = (table.get(key) for table in (cloud, auth) for key in ("token", "auth_token"))
    token = next(filter(None, tokens), None)
    kind = cloud.get("auth_type", "password")
    if kind not in NO_TOKEN + FIXED_TOKEN:
        raise ProfileInvalid(
            f"The cloud {name} has auth_type {kind}: imaged's commands do not ask Keystone yet.",
            "Use openstack for this cloud; or name the image service by --url and --token-file.",
        )
    if not url:
        raise ProfileInvalid(
            f"The cloud {name} does not say where its image service is.",
            "Set image_endpoint_override, or endpoint in auth.",
        )
    if kind in FIXED_TOKEN and not token:
        raise ProfileInvalid(f"The cloud {name} has no token.", "Set token in auth.")
    if cloud.get("verify") is False or str(cloud.get("insecure")).lower() == "true":
        raise ProfileInvalid(
            f"The cloud {name} wants certificates not to be verified, which imaged always does.",
            "Set cacert to the file of the authority's certificate.",
        )
    trusted = cloud.get("cacert")
    return read_endpoint(
        str(url),
        token=str(token) if kind in FIXED_TOKEN else None,
        ca_file=Path(str(trusted)).expanduser() if trusted else None,
    )


def _in_region(name: str, cloud: dict[str, Any], wanted: str | None) -> dict[str, Any]:
    """The cloud with what is different in the region: the wanted one, or the first."""
    if vendor := cloud.get("profile") or cloud.get("cloud"):
        raise ProfileInvalid(
            f"The cloud {name} has the vendor profile {vendor}, which imaged does not read.",
            "Write its settings into the cloud, and remove the profile.",
        )
    regions = _regions_of(name, cloud)
    if not regions:
        return cloud
    if wanted and wanted not in regions:
        raise ProfileInvalid(
            f"The cloud {name} has no region {wanted}.",
            f"It has: {', '.join(regions)}. Set {REGION_VARIABLE} to one of them.",
        )
    there = regions[wanted or next(iter(regions))]
    return _merged(cloud, {key: value for key, value in there.items() if value is not None})


def _regions_of(name: str, cloud: Mapping[str, Any]) -> Mapping[str, dict[str, Any]]:
    """What is different in each region, by its name."""
    regions: dict[str, dict[str, Any]] = {}
    known: Any = cloud.get("regions", list(filter(None, [cloud.get("region_name")])))
    for region in known if isinstance(known, list) else [None]:
        match {"name": region} if isinstance(region, str) else region:
            case {"name": str(named), **others} if others in ({}, {"values": None}):
                regions[named] = {}
            case {"name": str(named), "values": dict(values), **others} if not others:
                regions[named] = _normalized(values)
            case _:
                raise ProfileInvalid(
                    f"In the cloud {name}, regions is no list of names, or of tables.",
                    "Give each table a name, and values for what is different there.",
                )
    return regions


def _read_clouds(environment: Mapping[str, str]) -> dict[str, Any]:
    """The clouds of the first clouds.yaml, with what the first secure.yaml adds."""
    files = _first_file("clouds", CLOUDS_FILE_VARIABLE, environment)
    secrets = _first_file("secure", SECURE_FILE_VARIABLE, environment)
    return _merged(files, secrets)


def _first_file(name: str, variable: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """The clouds in the named file, or else in the first of the usual places that is there."""
    named = environment.get(variable)
    if named:
        return _read_yaml(Path(named))
    for folder in _openstack_folders(environment):
        for suffix in YAML_SUFFIXES:
            file = folder / f"{name}{suffix}"
            if file.is_file():
                return _read_yaml(file)
    return {}


def _openstack_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    yield Path.cwd()
    yield _config_home(environment) / "openstack"
    yield Path.home() / ".config/openstack"
    for folder in environment.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":"):
        yield Path(folder) / "openstack"
    yield Path("/etc/openstack")


def _read_yaml(file: Path) -> dict[str, Any]:
    import yaml

    try:
        values = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise ProfileInvalid(f"{file} cannot be read: {error.strerror}.") from error
    except (ValueError, yaml.YAMLError) as error:  # whose text repeats lines, perhaps with a token
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f", in line {mark.line + 1}"
        raise ProfileInvalid(f"{file} is not valid YAML{where}.") from None
    clouds = values.get("clouds") if isinstance(values, dict) else None
    if not isinstance(clouds, dict):
        raise ProfileInvalid(f"{file} has no table clouds.", "Add it, with a table for each cloud.")
    return clouds


def _merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, value in more.items():
        inner = merged.get(key)
        if isinstance(inner, dict) and isinstance(value, dict):
            value = _merged(inner, value)  # noqa: PLW2901
        merged[key] = value
    return merged


def _normalized(values: dict[str, Any]) -> dict[str, Any]:
    """With _ for - in keys: openstacksdk allows both."""
    return {
        str(key).replace("-", "_"): _normalized(value) if isinstance(value, dict) else value
        for key, value in values.items()
    }


def _endpoint_of(table: Mapping[str, Any]) -> Endpoint:
    trusted, token = table.get("ca_file"), table.get("token")
    server = read_endpoint(str(table.get("url", "")), token=None if token is None else str(token))
    # If its file is missing, only commands that ask this server fail.
    return server if trusted is None else replace(server, ca_file=Path(str(trusted)))


def _config_home(environment: Mapping[str, str]) -> Path:
    named = Path(environment.get("XDG_CONFIG_HOME", ""))
    return named if named.is_absolute() else Path.home() / ".config"


def _toml(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")
