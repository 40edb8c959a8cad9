"""What the settings of a cloud mean: the image service, and how to sign in.

The settings are those of a cloud of clouds.yaml, of the variables ``OS_…``, and of a profile that
`imaged login` remembers: the same keys mean the same. They are understood as openstacksdk documents
them; a test compares both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from imaged.client.errors import ProfileInvalid
from imaged.client.http_session import Endpoint, read_endpoint
from imaged.client.keystone_account import PUBLIC, SECRETS, KeystoneAccount, Method, Source
from imaged.core.secret import Secret

Settings = Mapping[str, Any]

#: Types of authentication that send no token, or one that never changes; with other names of them.
NO_TOKEN = ("none", "None", "", None)
FIXED_TOKEN = ("admin_token", "token_endpoint")
KEYSTONE = {
    "password": Method.PASSWORD,
    "v3password": Method.PASSWORD,
    "token": Method.TOKEN,
    "v3token": Method.TOKEN,
    "v3applicationcredential": Method.APPLICATION_CREDENTIAL,
}

#: The keys of ``auth``, with other names of them. The table ``auth`` goes before the cloud's own
#: keys, except for these, in which openstacksdk has it the other way round.
_AUTH_KEYS: Mapping[str, Sequence[str]] = {
    "auth_url": (),
    "username": ("user_name",),
    "user_id": (),
    "user_domain_id": (),
    "user_domain_name": (),
    "password": (),
    "token": ("auth_token",),
    "application_credential_id": (),
    "application_credential_name": (),
    "application_credential_secret": (),
    "project_id": ("tenant_id",),
    "project_name": ("tenant_name",),
    "project_domain_id": (),
    "project_domain_name": (),
    "domain_id": (),
    "domain_name": (),
    "default_domain_id": (),
    "default_domain_name": (),
    "system_scope": (),
    "trust_id": (),
}
_OUTER_FIRST = {
    "token", "project_id", "project_name", "project_domain_id", "project_domain_name",
    "user_domain_id", "user_domain_name", "domain_id", "domain_name",
}  # fmt: skip
#: Of these, a token is for one.
_SCOPES = (("project_id", "project_name"), ("domain_id", "domain_name"), ("system_scope",),
           ("trust_id",))  # fmt: skip
#: What is needed beside the secret: one of each.
_NEEDED: Mapping[Method, Sequence[Sequence[str]]] = {
    Method.PASSWORD: (("username", "user_id"),),
    Method.TOKEN: (),
    Method.APPLICATION_CREDENTIAL: (("application_credential_id", "application_credential_name"),),
}


def read_settings(settings: Settings, source: Source) -> Endpoint:
    """The image service of a cloud, and the account that signs in for it, if one does.

    Its certificates need not be there: only commands that ask this service fail.

    Raises ProfileInvalid, EndpointInvalid.
    """
    given = settings.get("auth") or {}
    if not isinstance(given, Mapping):
        raise ProfileInvalid(f"{source.name}: auth is no table.", f"Set {source.key('auth_url')}.")
    _require_verification(settings, source)
    auth = _auth(settings, given)
    kind = settings.get("auth_type", settings.get("auth_plugin", _usual_type(auth)))
    url = settings.get("image_endpoint_override")
    if kind in NO_TOKEN + FIXED_TOKEN:
        url = url or given.get("endpoint") or given.get("url") or settings.get("endpoint")
        server = _fixed_server(auth, str(url or ""), source, has_token=kind in FIXED_TOKEN)
    elif isinstance(kind, str) and kind in KEYSTONE:
        account = _account(KEYSTONE[kind], settings, auth, source)
        if account.is_kept and url:
            server = read_endpoint(str(url), token=account.secret.reveal())
        else:
            server = read_endpoint(str(url or ""), account=account)
    else:
        raise ProfileInvalid(
            f"{source.name}: the auth_type {kind} is none that imaged's commands can use.",
            f"They know {', '.join(KEYSTONE)}, none and admin_token. For another one, run "
            f"`openstack token issue`, and set {source.key('auth_type')} to token and "
            f"{source.key('token')} to its token.",
        )
    trusted = settings.get("cacert")
    return replace(server, ca_file=Path(str(trusted)).expanduser() if trusted else None)


def write_settings(server: Endpoint) -> tuple[dict[str, str], dict[str, str]]:
    """The settings of a service with an account, and those of its ``auth``, for a file."""
    account = server.account
    if account is None:
        return {}, {}
    outer = {
        "auth_type": str(account.method),
        "region_name": account.region,
        "interface": account.interface,
    }
    secret = {SECRETS[account.method]: account.secret.reveal()}
    return outer, {**account.auth, **secret}


def _fixed_server(auth: Settings, url: str, source: Source, *, has_token: bool) -> Endpoint:
    """A service that is asked without Keystone."""
    if not url:
        raise ProfileInvalid(
            f"{source.name} does not say where its image service is.",
            f"Set {source.key('image_endpoint_override')}.",
        )
    token = auth.get("token")
    if has_token and not token:
        raise ProfileInvalid(f"{source.name} has no token.", f"Set {source.key('token')}.")
    return read_endpoint(url, token=token if has_token else None)


def _account(
    method: Method, settings: Settings, auth: Mapping[str, str], source: Source
) -> KeystoneAccount:
    for names in (("auth_url",), *_NEEDED[method], (SECRETS[method],)):
        if not any(name in auth for name in names):
            raise ProfileInvalid(
                f"{source.name} has no {' or '.join(names)}, which {method} needs.",
                f"Set {source.key(names[0])}.{_other_type(auth, method, source)}",
            )
    if method is Method.APPLICATION_CREDENTIAL:
        _require_no_scope(auth, source)
        if "application_credential_id" not in auth and not {"username", "user_id"} & auth.keys():
            raise ProfileInvalid(
                f"{source.name} has no user, whose application credential has the name.",
                f"Set {source.key('username')}, or {source.key('application_credential_id')} "
                "instead of the name.",
            )
    else:
        _require_one_scope(auth, source)
    region = settings.get("region_name") or ""
    interface = settings.get("image_interface", settings.get("image_endpoint_type"))
    interface = interface or settings.get("interface", settings.get("endpoint_type")) or PUBLIC
    for name, value in (("region_name", region), ("interface", interface)):
        if not isinstance(value, str):
            raise ProfileInvalid(f"{source.name}: {name} is no text.", f"Set {source.key(name)}.")
    secrets = set(SECRETS.values())
    known = {key: value for key, value in auth.items() if key not in secrets}
    known["auth_url"] = known["auth_url"].replace("{region_name}", region)
    read_endpoint(known["auth_url"])  # is an address
    return KeystoneAccount(
        method=method,
        auth=known,
        secret=Secret(auth[SECRETS[method]]),
        region=region,
        interface=interface.removesuffix("URL"),
        source=source,
    )


def _auth(settings: Settings, given: Settings) -> dict[str, str]:
    """The settings of ``auth``, by their present names."""
    auth = {}
    for name, others in _AUTH_KEYS.items():
        keys = (name, *others)
        if name in _OUTER_FIRST:
            found = (table.get(key) for key in keys for table in (settings, given))
        else:
            found = (table.get(key) for table in (given, settings) for key in keys)
        if value := next((one for one in found if one not in (None, "")), None):
            auth[name] = str(value)
    if {"project_id", "project_name"} & auth.keys():  # then it is the domain of both
        for key in ("id", "name"):
            if domain := auth.pop(f"domain_{key}", None):
                auth.setdefault(f"user_domain_{key}", domain)
                auth.setdefault(f"project_domain_{key}", domain)
    return auth


def _usual_type(auth: Settings) -> Method:
    """The type of authentication where none is said."""
    is_token = "token" in auth and not {"username", "user_id"} & auth.keys()
    return Method.TOKEN if is_token else Method.PASSWORD


def _other_type(auth: Settings, method: Method, source: Source) -> str:
    """The advice to set another type, for which there is a secret."""
    others = (other for other, secret in SECRETS.items() if other is not method and secret in auth)
    for other in others:
        return f" Or set {source.key('auth_type')} to {other}, for which there is a secret."
    return ""


def _scopes(auth: Settings) -> Iterator[str]:
    for names in _SCOPES:
        yield from [name for name in names if name in auth][:1]


def _require_one_scope(auth: Settings, source: Source) -> None:
    scopes = list(_scopes(auth))
    if len(scopes) > 1:
        raise ProfileInvalid(
            f"{source.name} has {' and '.join(scopes)}: a token is for one of them.",
            f"Remove {source.key(scopes[-1])}, or the other.",
        )


def _require_no_scope(auth: Settings, source: Source) -> None:
    if scope := next(_scopes(auth), None):
        raise ProfileInvalid(
            f"{source.name} has {scope}, but an application credential has a project of its own.",
            f"Remove {source.key(scope)}.",
        )


def _require_verification(settings: Settings, source: Source) -> None:
    refused = str(settings.get("verify")).lower() in {"false", "0", "no"}
    if refused or str(settings.get("insecure")).lower() in {"true", "1", "yes"}:
        raise ProfileInvalid(
            f"{source.name} wants certificates not to be verified, which imaged always does.",
            f"Set {source.key('cacert')} to the file of the authority's certificate.",
        )
