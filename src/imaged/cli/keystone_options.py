"""The options of `imaged login` by which commands sign in to Keystone."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from imaged.cli.options import FILE_TYPE

if TYPE_CHECKING:
    from imaged.client.http_session import Endpoint
    from imaged.client.keystone_account import KeystoneAccount

F = TypeVar("F", bound=Callable[..., Any])

#: The secret is replaced before anything is sent.
PLACEHOLDER = "not yet known"

_TEXTS = (
    ("auth-url", "URL", "Keystone, with or without /v3."),
    ("username", "NAME", "Who signs in, with a password."),
    ("user-domain-name", "NAME", "The user's domain; default: that with the id default."),
    ("project-name", "NAME", "The project to sign in to."),
    ("project-id", "ID", "The same by its id, without its domain."),
    ("project-domain-name", "NAME", "The project's domain; default: that with the id default."),
    ("application-credential-id", "ID", "An application credential, instead of a user."),
    ("application-credential-name", "NAME", "The same by its name, with --username."),
    ("region-name", "NAME", "The region, if the catalog has several."),
    ("interface", "NAME", "public, internal or admin; default: public."),
)


def keystone_options(command: F) -> F:
    """The options; the command gets them by their names, for KeystoneOptions."""
    password = click.option(
        "--password-file",
        metavar="FILE",
        type=FILE_TYPE,
        help="The file with the password, or with the secret of the application credential.",
    )
    command = password(command)
    for name, metavar, text in reversed(_TEXTS):
        command = click.option(f"--{name}", metavar=metavar, help=text)(command)
    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class KeystoneOptions:
    """The options, as given."""

    auth_url: str | None
    username: str | None
    user_domain_name: str | None
    project_name: str | None
    project_id: str | None
    project_domain_name: str | None
    application_credential_id: str | None
    application_credential_name: str | None
    region_name: str | None
    interface: str | None
    password_file: Path | None

    @property
    def are_given(self) -> bool:
        """Whether one of them is."""
        return any(value is not None for value in asdict(self).values())

    def server(self, url: str, token_file: Path | None, ca_file: Path | None) -> Endpoint:
        """The image service, and the account that signs in for it. Without options it is that of
        the variables ``OS_…``. ``url``: "", if the catalog has it.

        Raises ProfileInvalid, EndpointInvalid; UsageError if nothing says where to sign in.
        """
        from imaged.client import clouds
        from imaged.client.cloud_settings import read_settings
        from imaged.client.http_session import read_endpoint, read_token
        from imaged.client.keystone_account import COMMAND_LINE, SECRETS, Method
        from imaged.core.secret import Secret

        if not self.are_given:
            if not clouds.signs_in(os.environ):
                raise click.UsageError(
                    "Name the server by its URL, or Keystone by --auth-url or OS_AUTH_URL."
                )
            found = clouds.read_variables(os.environ)
            if token_file is not None:
                found = found.with_token(read_token(token_file))
            return (
                found
                if ca_file is None
                else read_endpoint(
                    found.address, token=found.token, ca_file=ca_file, account=found.account
                )
            )
        settings = {key: value for key, value in asdict(self).items() if value is not None}
        settings.pop("password_file", None)
        method = self._method(has_token=token_file is not None)
        secret = PLACEHOLDER if token_file is None else read_token(token_file)
        settings |= {"auth_type": str(method), SECRETS[method]: secret}
        settings |= {"image_endpoint_override": url, "cacert": ca_file}
        server = read_settings(settings, COMMAND_LINE)
        account = server.account
        if account is not None and method is not Method.TOKEN:
            account = account.with_secret(Secret(self._secret(account)))
        return read_endpoint(
            server.address, token=server.token, ca_file=server.ca_file, account=account
        )

    def _method(self, *, has_token: bool) -> Any:
        from imaged.client.keystone_account import Method

        if has_token:
            return Method.TOKEN
        if self.application_credential_id or self.application_credential_name:
            return Method.APPLICATION_CREDENTIAL
        return Method.PASSWORD

    def _secret(self, account: KeystoneAccount) -> str:
        from imaged.client.http_session import read_token
        from imaged.client.keystone_account import Method

        what = "Password" if account.method is Method.PASSWORD else "Secret"
        if self.password_file is not None:
            return read_token(self.password_file, what.lower())
        who = account.who.removeprefix("the ")
        wants = f"{account.place} wants the {what.lower()} of the {who}"
        return ask_for_secret(f"{what} of the {who} at {account.place}", wants, "--password-file")


def ask_for_secret(prompt: str, wants: str, option: str) -> str:
    """A secret, typed unseen or from standard input. Raises EndpointInvalid without one."""
    from imaged.client.errors import EndpointInvalid

    secret: str
    if sys.stdin.isatty():
        secret = click.prompt(prompt, hide_input=True, err=True)
    else:
        secret = sys.stdin.readline()
    if not secret.strip():
        raise EndpointInvalid(f"{wants}.", f"Type it, write it to standard input, or use {option}.")
    return secret.strip("\r\n")
