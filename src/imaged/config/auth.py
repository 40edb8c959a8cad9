"""``[auth]``: how callers are authenticated, and the account that asks Keystone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from imaged.config.sections import Section, secret, setting
from imaged.config.types import PlainTuple, PositiveDuration, SecretText
from imaged.config.urls import Endpoint

_FOR_KEYSTONE = "must be set, so that Keystone can be asked"


def _parse_keystone_urls(value: object) -> object:
    """One address, addresses with commas between them (of the environment), or a list."""
    if not isinstance(value, str):
        return value
    return [url for one in value.split(",") if (url := one.strip())]


def _check_keystone_urls(urls: tuple[str, ...]) -> tuple[str, ...]:
    if not all(urls):
        raise ValueError('must be addresses such as "https://host:5000", and one of them is empty')
    return urls


KeystoneUrls = Annotated[
    PlainTuple[Endpoint],
    BeforeValidator(_parse_keystone_urls),
    AfterValidator(_check_keystone_urls),
]


class KeystoneSection(Section):
    """Keystone v3, and the account by which imaged asks it about the tokens of callers."""

    url: KeystoneUrls = setting(
        [],
        'The address of Keystone, such as "https://keystone.example.net:5000", or a list of them: '
        "the next one is asked if one does not answer.",
    )
    public_url: Endpoint = setting(
        "", "The address that answers with 401 tell to clients; default: the first url."
    )
    username: str = setting("", "The name of the account; it needs the role service.")
    password_file: str = setting("", "The file with its password.", reloadable=True)
    password: SecretText | None = secret("The password itself; it overrides password_file.")
    user_domain: str = setting(
        "Default", "The domain of the account, by its name, in which case matters."
    )
    project: str = setting("", "The project in which the account has its role, by its name.")
    project_domain: str = setting("Default", "The domain of the project, by its name.")
    application_credential_id: str = setting(
        "", "An application credential, instead of username, password and project."
    )
    application_credential_secret_file: str = setting(
        "", "The file with the secret of the application credential.", reloadable=True
    )
    application_credential_secret: SecretText | None = secret(
        "The secret itself; it overrides application_credential_secret_file."
    )
    ca_file: str = setting(
        "", "Certificates (PEM) of authorities to trust for Keystone; default: the system's."
    )
    cache_time: PositiveDuration = setting(
        "60s",
        "How long an answer of Keystone is used, for other requests with the same token. So long "
        "may a token be accepted after it was revoked, or after its user has lost a role.",
        reloadable=True,
    )

    def mistakes(self) -> Iterator[tuple[str, str]]:
        """What is wrong with the account, where it is needed: the setting, and what must be."""
        if not self.url:
            yield "url", _FOR_KEYSTONE
        if self.application_credential_id:
            if self.username or self.project:
                key = "username" if self.username else "project"
                yield key, "must not be set beside application_credential_id, which has its own"
            if not (self.application_credential_secret or self.application_credential_secret_file):
                yield (
                    "application_credential_secret_file",
                    "must be set, because application_credential_id is",
                )
            return
        if not self.username:
            yield "username", f"{_FOR_KEYSTONE}, or application_credential_id"
            return
        if not (self.password or self.password_file):
            yield "password_file", "must be set, because username is"
        if not self.project:
            yield "project", "must be set, because username is: roles are given in a project"


class AuthSection(Section):
    """Authentication of callers."""

    method: Literal["none", "token", "keystone"] = setting(
        "none",
        '"none": every client that can connect is an administrator. Requests of web pages in a '
        "browser are refused, and so is a Host other than localhost and the host of "
        'api.public_url. "token": callers send a token that token_file knows. '
        '"keystone": they send a token of Keystone, which [auth.keystone] asks.',
    )
    token_file: str = setting(
        "",
        'The file of hashed tokens for method "token"; `imaged token` makes its entries.',
        reloadable=True,
    )
    policy_file: str = setting(
        "",
        "The file with rules in place of the defaults: which roles may make which calls, in the "
        "language and with the names of Glance's policy.yaml. It need not be secret.",
        reloadable=True,
    )
    anonymous_read: bool = setting(
        False,  # noqa: FBT003 - the value that the setting has
        "Callers without a token may list, show and download public images, and nothing else. Not "
        'with method "none".',
        reloadable=True,
    )
    allow_anyone_on_the_network: bool = setting(
        False,  # noqa: FBT003 - the value that the setting has
        'With method "none", allow addresses that other machines can connect to. '
        "Every client that reaches the port can then read, change and delete every image.",
    )
    keystone: KeystoneSection = Field(
        default_factory=KeystoneSection, description=KeystoneSection.__doc__
    )
