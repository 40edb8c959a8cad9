"""Servers with a name: those that `imaged login` remembers, and the clouds of clouds.yaml.

A server comes with its own token or account, and its certificates, which are sent to it and its
Keystone alone. The secrets are in one file, which only its user may read.
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

from imaged.client.cloud_settings import read_settings, write_settings
from imaged.client.clouds import config_home, read_cloud, read_clouds
from imaged.client.errors import ProfileInvalid
from imaged.client.http_session import Endpoint, read_endpoint
from imaged.client.keystone_account import Source

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
    url = server.url or (server.account.auth["auth_url"] if server.account else "")
    place = server.socket.stem if server.socket else url.partition("://")[2]
    return _NOT_IN_NAMES.sub("-", place).strip("-._:")[:64] or "default"


def profiles_file(environment: Mapping[str, str]) -> Path:
    """Where the user's profiles are, by the XDG Base Directory Specification."""
    return config_home(environment) / "imaged/profiles.toml"


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
    servers = {name: _server_of(name, table, file) for name, table in tables.items()}
    if mode & _READABLE_BY_OTHERS and any(server.has_secret for server in servers.values()):
        raise ProfileInvalid(
            f"Other users can read {file}, which contains secrets.", f"Run: chmod 600 {file}"
        )
    default = values.get("default")
    return Profiles(servers, default if default in servers else None)


def write_profiles(file: Path, profiles: Profiles) -> None:
    """Replace the file; no other user can read it. Raises ProfileInvalid."""
    lines = ["# Written by `imaged login`. Tokens and passwords are secrets."]
    if profiles.default is not None:
        lines.append(f"default = {_toml(profiles.default)}")
    for name, server in sorted(profiles.servers.items()):
        for inner, facts in _tables_of(server):
            lines += ["", f"[profiles.{_toml(name)}{inner}]"]
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
    if name not in profiles.servers and name in read_clouds(environment).tables:
        return read_cloud(name, environment)
    return profiles.require(name)


def _tables_of(server: Endpoint) -> Iterator[tuple[str, Mapping[str, object]]]:
    """What is written of a server: the table of its name, and the one in it for Keystone."""
    outer, auth = write_settings(server)
    yield "", {"url": server.address, "token": server.token, "ca_file": server.ca_file, **outer}
    if auth:
        yield ".auth", auth


def _server_of(name: str, table: Mapping[str, Any], file: Path) -> Endpoint:
    """The server of a table. If the file of its certificates is missing, only commands that ask it
    fail.
    """
    trusted, token, url = table.get("ca_file"), table.get("token"), str(table.get("url", ""))
    if "auth" in table:
        others = {"image_endpoint_override": url, "cacert": trusted}
        source = Source(f"The profile {name}", lambda key: f"{key} of {name} in {file}")
        return read_settings({**table, **others}, source)
    server = read_endpoint(url, token=None if token is None else str(token))
    return server if trusted is None else replace(server, ca_file=Path(str(trusted)))


def _toml(text: object) -> str:
    return json.dumps(str(text), ensure_ascii=False).replace("\x7f", "\\u007f")
