"""Builds what knows the limits of projects: the catalog itself, or Keystone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from imaged.catalogs.project_limits import CatalogLimits
from imaged.config import Config
from imaged.daemon import settings
from imaged.daemon.keystone import keystone_settings
from imaged.keystone.limits import UnifiedLimits
from imaged.keystone.session import KeystoneSession
from imaged.ports.meter import ignore_measurement
from imaged.ports.project_limits import ProjectLimits
from imaged.telemetry.outages import KeystoneWatch


@asynccontextmanager
async def open_project_limits(config: Config) -> AsyncIterator[ProjectLimits]:
    """Yield the source of ``quotas.source``. Keystone is connected to when a limit is needed.

    Raises KeystoneSettingsUnusable.
    """
    defaults = settings.default_limits(config)
    if config.quotas.source == "config":
        yield CatalogLimits(defaults)
        return
    session = KeystoneSession(keystone_settings(config), KeystoneWatch(ignore_measurement))
    try:
        yield UnifiedLimits(session, defaults, config.quotas.region)
    finally:
        await session.close()


def reload_secrets(limits: ProjectLimits, config: Config) -> None:
    """Reload the secrets of Keystone's account, if limits are there.

    Raises KeystoneSettingsUnusable and changes nothing then.
    """
    if isinstance(limits, UnifiedLimits):
        limits.session.apply(keystone_settings(config))
