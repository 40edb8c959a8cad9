"""Requests for a token, as the Identity API v3 describes them. They contain secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from imaged.core.secret import Secret


def password_login(
    user: Mapping[str, Any], password: Secret, scope: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The request of a user with a password ("Password authentication with scoped authorization").

    ``user``: its ``id``, or its ``name`` and ``domain``. ``scope``: None, for the default project.
    """
    return _request("password", {"user": {**user, "password": password.reveal()}}, scope)


def token_login(token: Secret, scope: Mapping[str, Any] | None) -> dict[str, Any]:
    """The request for a token of another scope ("Token authentication with scoped
    authorization").
    """
    return _request("token", {"id": token.reveal()}, scope)


def application_credential_login(credential: Mapping[str, Any], secret: Secret) -> dict[str, Any]:
    """The request of an application credential, which has a project of its own ("Authenticating
    with an Application Credential").

    ``credential``: its ``id``, or its ``name`` and its ``user``.
    """
    return _request("application_credential", {**credential, "secret": secret.reveal()}, None)


def _request(
    method: str, proof: Mapping[str, Any], scope: Mapping[str, Any] | None
) -> dict[str, Any]:
    auth: dict[str, Any] = {"identity": {"methods": [method], method: proof}}
    return {"auth": auth if scope is None else {**auth, "scope": scope}}
