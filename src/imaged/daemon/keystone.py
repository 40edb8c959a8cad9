"""Builds what a process needs of Keystone: settings, a session, the validation of tokens, and the
limits of projects, which the catalog has otherwise.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from imaged.catalogs.project_limits import CatalogLimits
from imaged.config import Config
from imaged.config.auth import KeystoneSection
from imaged.config.secrets import read_secret
from imaged.core.errors import KeystoneSettingsUnusable
from imaged.core.secret import Secret
from imaged.core.token_cache import TokenCache
from imaged.daemon.settings import default_limits, settings_for
from imaged.keystone.settings import ApplicationCredential, KeystoneSettings, PasswordAccount
from imaged.ports.meter import Meter, ignore_measurement
from imaged.ports.project_limits import ProjectLimits
from imaged.services.token_validation import TokenValidator
from imaged.telemetry.outages import KeystoneWatch

if TYPE_CHECKING:  # its library is large, and loaded where Keystone is used
    from imaged.keystone.session import KeystoneSession

PART = "keystone"  # as /readyz and imaged status name it


def keystone_settings(config: Config) -> KeystoneSettings:
    """Where Keystone is, and imaged's account there. Raises KeystoneSettingsUnusable."""
    keystone = config.auth.keystone
    return settings_for(
        keystone,
        KeystoneSettings,
        urls=keystone.url,
        account=_keystone_account(keystone),
        ca_file=Path(keystone.ca_file) if keystone.ca_file else None,
    )


def keystone_uri(config: Config) -> str:
    """The address of Keystone that clients are told."""
    keystone = config.auth.keystone
    return keystone.public_url or keystone.url[0]


def _keystone_account(keystone: KeystoneSection) -> PasswordAccount | ApplicationCredential:
    if keystone.application_credential_id:
        return ApplicationCredential(
            id=keystone.application_credential_id,
            secret=_keystone_secret(
                keystone.application_credential_secret, keystone.application_credential_secret_file
            ),
        )
    return settings_for(
        keystone,
        PasswordAccount,
        password=_keystone_secret(keystone.password, keystone.password_file),
    )


def _keystone_secret(given: SecretStr | None, file: str) -> Secret:
    """The secret: a value takes precedence over a file. Raises KeystoneSettingsUnusable."""
    if given is not None:
        return Secret(given.get_secret_value())
    try:
        return read_secret(Path(file))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it holds no secret"
        raise KeystoneSettingsUnusable(
            f"The secret of [auth.keystone] in {file} cannot be read: {why}"
        ) from error


class KeystoneConnection:
    """Keystone, as one process uses it. It connects when it is asked for the first time.

    Raises KeystoneSettingsUnusable.
    """

    def __init__(self, config: Config, meter: Meter = ignore_measurement) -> None:
        from imaged.keystone.session import KeystoneSession
        from imaged.keystone.tokens import KeystoneTokens

        self.watch = KeystoneWatch(meter)
        self.session: KeystoneSession = KeystoneSession(keystone_settings(config), self.watch)
        self.tokens = TokenValidator(
            KeystoneTokens(self.session), TokenCache(config.auth.keystone.cache_time)
        )

    def apply(self, config: Config) -> None:
        """Reload secrets and ``cache_time``. Raises KeystoneSettingsUnusable and changes nothing
        then.
        """
        self.session.apply(keystone_settings(config))
        self.tokens.cache.cache_time = config.auth.keystone.cache_time

    def failing_part_seconds(self) -> dict[str, float]:
        """For how many seconds Keystone has been failing, by its name; empty if it works."""
        seconds = self.watch.failing_seconds
        return {} if seconds is None else {PART: round(seconds, 3)}


@asynccontextmanager
async def open_keystone(
    config: Config, meter: Meter = ignore_measurement
) -> AsyncIterator[KeystoneConnection]:
    """Yield the connection, and close it at the end. Raises KeystoneSettingsUnusable."""
    connection = KeystoneConnection(config, meter)
    try:
        yield connection
    finally:
        await connection.session.close()


@asynccontextmanager
async def open_project_limits(config: Config) -> AsyncIterator[ProjectLimits]:
    """Yield the source of ``quotas.source``. Keystone is connected to when a limit is needed.

    Raises KeystoneSettingsUnusable.
    """
    defaults = default_limits(config)
    if config.quotas.source == "config":
        yield CatalogLimits(defaults)
        return
    from imaged.keystone.limits import UnifiedLimits
    from imaged.keystone.session import KeystoneSession

    session = KeystoneSession(keystone_settings(config), KeystoneWatch(ignore_measurement))
    try:
        yield UnifiedLimits(session, defaults, config.quotas.region)
    finally:
        await session.close()


def reload_secrets(limits: ProjectLimits, config: Config) -> None:
    """Reload the secrets of Keystone's account, if limits are there.

    Raises KeystoneSettingsUnusable and changes nothing then.
    """
    if config.quotas.source == "config":
        return
    from imaged.keystone.limits import UnifiedLimits

    if isinstance(limits, UnifiedLimits):
        limits.session.apply(keystone_settings(config))
