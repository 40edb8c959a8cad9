"""Where Keystone is, and the account that asks it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from imaged.core.keystone_login import application_credential_login, password_login
from imaged.core.retry_policy import RetryPolicy
from imaged.core.secret import Secret

#: How often all endpoints are tried in turn, and the pause in between.
ROUNDS = RetryPolicy(
    first_pause=timedelta(seconds=0.2), longest_pause=timedelta(seconds=1), attempts=2
)
#: How long imaged waits after its account was refused, until it signs in again: more failures in a
#: row could lock the account.
REFUSED_LOGINS = RetryPolicy(first_pause=timedelta(seconds=5), longest_pause=timedelta(seconds=60))


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordAccount:
    """A user with a password, and the project in which it has its role; domains are names."""

    username: str
    user_domain: str
    password: Secret
    project: str
    project_domain: str

    def login_document(self) -> dict[str, Any]:
        """The request for a token. It contains the password."""
        user = {"name": self.username, "domain": {"name": self.user_domain}}
        project = {"name": self.project, "domain": {"name": self.project_domain}}
        return password_login(user, self.password, {"project": project})


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationCredential:
    """An application credential, which has a user, a project and roles."""

    id: str
    secret: Secret

    def login_document(self) -> dict[str, Any]:
        """The request for a token. It contains the secret."""
        return application_credential_login({"id": self.id}, self.secret)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneSettings:
    """Settings of ``[auth.keystone]``. ``urls``: with or without ``/v3`` at the end."""

    urls: tuple[str, ...]
    account: PasswordAccount | ApplicationCredential
    ca_file: Path | None
    rounds: RetryPolicy = ROUNDS
    refused_logins: RetryPolicy = REFUSED_LOGINS
    connect_timeout: timedelta = timedelta(seconds=3)
    answer_timeout: timedelta = timedelta(seconds=5)  # of one endpoint
    total_time: timedelta = timedelta(seconds=10)  # of all endpoints, while a client waits
    max_connections: int = 32
