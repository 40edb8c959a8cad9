"""Accounts of Keystone: who signs in, to which project, and where."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

from imaged.core.keystone_login import application_credential_login, password_login, token_login
from imaged.core.secret import Secret

DEFAULT_DOMAIN = "default"  # its id: that of the domain which Keystone makes at its installation
PUBLIC = "public"


class Method(StrEnum):
    """How an account proves who it is, in the words of clouds.yaml."""

    PASSWORD = "password"  # noqa: S105 - a word of clouds.yaml
    TOKEN = "token"  # noqa: S105 - a word of clouds.yaml
    APPLICATION_CREDENTIAL = "v3applicationcredential"


#: What proves it, in the words of clouds.yaml.
SECRETS: Mapping[Method, str] = {
    Method.PASSWORD: "password",
    Method.TOKEN: "token",
    Method.APPLICATION_CREDENTIAL: "application_credential_secret",
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where settings are, for errors. ``name`` begins sentences; ``key`` says where to set one."""

    name: str
    key: Callable[[str], str]


#: Options of `imaged login` that are not named like the key.
_OPTIONS = {
    "password": "--password-file",
    "application_credential_secret": "--password-file",
    "token": "--token-file",
    "cacert": "--ca-file",
    "image_endpoint_override": "the argument URL",
}
COMMAND_LINE = Source(
    "The command line", lambda key: _OPTIONS.get(key, f"--{key.replace('_', '-')}")
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneAccount:
    """An account. ``auth``: the keys of clouds.yaml's table of this name, without the secret.

    ``region`` and ``interface`` choose in the catalog; "" is for the only region.
    """

    method: Method
    auth: Mapping[str, str]
    secret: Secret
    region: str = ""
    interface: str = PUBLIC
    source: Source = field(default=COMMAND_LINE, compare=False, repr=False)

    @property
    def url(self) -> str:
        """The address of the Identity API v3: users write it with and without the version."""
        bare = self.auth["auth_url"].rstrip("/").removesuffix("/v2.0")
        return bare if bare.endswith("/v3") else f"{bare}/v3"

    @property
    def place(self) -> str:
        """Keystone, for people."""
        return f"Keystone at {urlsplit(self.url).netloc}"

    @property
    def is_kept(self) -> bool:
        """Whether the token itself is used, because no other scope is wanted."""
        return self.method is Method.TOKEN and self.scope is None

    @property
    def who(self) -> str:
        """The account, for people."""
        match self.method:
            case Method.PASSWORD:
                return f"the user {self.auth.get('username') or self.auth['user_id']}"
            case Method.TOKEN:
                return "the token"
            case Method.APPLICATION_CREDENTIAL:
                keys = ("application_credential_name", "application_credential_id")
                return f"the application credential {_first(self.auth, keys)}"

    @property
    def scope(self) -> Mapping[str, Any] | None:
        """What the token is wanted for, in the words of the Identity API v3; None: not said."""
        auth = self.auth
        if "trust_id" in auth:
            return {"OS-TRUST:trust": {"id": auth["trust_id"]}}
        if "system_scope" in auth:
            return {"system": {auth["system_scope"]: True}}
        if "project_id" in auth:
            return {"project": {"id": auth["project_id"]}}
        if "project_name" in auth:
            domain = self._domain_of("project")
            return {"project": {"name": auth["project_name"], "domain": domain}}
        for key in ("id", "name"):
            if f"domain_{key}" in auth:
                return {"domain": {key: auth[f"domain_{key}"]}}
        return None

    def login_document(self) -> dict[str, Any]:
        """The request for a token. It contains the secret."""
        match self.method:
            case Method.PASSWORD:
                return password_login(self._user(), self.secret, self.scope)
            case Method.TOKEN:
                return token_login(self.secret, self.scope)
            case Method.APPLICATION_CREDENTIAL if "application_credential_id" in self.auth:
                credential = {"id": self.auth["application_credential_id"]}
                return application_credential_login(credential, self.secret)
            case Method.APPLICATION_CREDENTIAL:
                name = self.auth["application_credential_name"]
                named = {"name": name, "user": self._user()}
                return application_credential_login(named, self.secret)

    def with_token(self, token: str) -> KeystoneAccount:
        """The same Keystone, region and interface, for a token that is there already."""
        auth = {"auth_url": self.auth["auth_url"]}
        return replace(self, method=Method.TOKEN, auth=auth, secret=Secret(token))

    def with_secret(self, secret: Secret) -> KeystoneAccount:
        """The same account, with another secret."""
        return replace(self, secret=secret)

    def _user(self) -> Mapping[str, Any]:
        if "user_id" in self.auth:
            return {"id": self.auth["user_id"]}
        return {"name": self.auth["username"], "domain": self._domain_of("user")}

    def _domain_of(self, what: str) -> Mapping[str, str]:
        """The domain of the user or the project, which is the default one unless said."""
        for prefix in (what, "default"):
            for key in ("id", "name"):
                if found := self.auth.get(f"{prefix}_domain_{key}"):
                    return {key: found}
        return {"id": DEFAULT_DOMAIN}


def _first(auth: Mapping[str, str], keys: tuple[str, ...]) -> str:
    return next(auth[key] for key in keys if key in auth)
