"""Checks of Keystone: its endpoints, imaged's account there, its role, the clocks, and limits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from imaged.cli.doctor import Finding, ok, problem, warning
from imaged.config import Config
from imaged.core.errors import KeystoneError, KeystoneSettingsUnusable
from imaged.core.identity import Identity
from imaged.daemon.keystone import keystone_settings
from imaged.daemon.settings import default_limits
from imaged.keystone.limits import UnifiedLimits
from imaged.keystone.session import KeystoneSession

#: By Keystone's default policy. Asking about an invented token proves nothing: the answer is the
#: same whatever rights the account has, and about its own token it may always ask.
VALIDATING_ROLES = frozenset({"service", "admin"})
MAX_CLOCK_DIFFERENCE = timedelta(seconds=10)


async def check_keystone(config: Config) -> AsyncIterator[Finding]:
    """Sign in at each endpoint, and read limits; nothing is left there but a token."""
    if config.auth.method != "keystone" and not _has_limits_there(config):
        return
    try:
        settings = keystone_settings(config)
    except KeystoneSettingsUnusable as error:
        yield problem("keystone", str(error), "Correct the file, or its name in [auth.keystone].")
        return
    for url in settings.urls:
        try:
            session = KeystoneSession(replace(settings, urls=(url,)))
        except KeystoneError as error:
            yield problem(f"keystone {url}", str(error), "Correct it, or [auth.keystone].")
            continue
        try:
            async for finding in _check_endpoint(f"keystone {url}", session, config):
                yield finding
        finally:
            await session.close()


async def _check_endpoint(
    subject: str, session: KeystoneSession, config: Config
) -> AsyncIterator[Finding]:
    began = time.monotonic()
    try:
        identity = (await session.token()).identity
    except KeystoneError as error:
        yield problem(subject, str(error), "Correct it, or [auth.keystone].")
        return
    received_at, took = datetime.now(UTC), time.monotonic() - began
    yield ok(subject, f"It let imaged sign in: it took {took * 1000:.0f} ms.")
    if config.auth.method == "keystone":
        yield _role_finding(subject, identity)
    yield clock_finding(subject, identity.issued_at, received_at)
    if _has_limits_there(config):
        yield await _limits_finding(subject, session, config, identity.project)


def _has_limits_there(config: Config) -> bool:
    return config.quotas.source == "keystone"


async def _limits_finding(
    subject: str, session: KeystoneSession, config: Config, project: str
) -> Finding:
    """Read limits as the catalog does: those registered, and those of one project."""
    limits = UnifiedLimits(session, default_limits(config), config.quotas.region)
    await limits.read(project)
    if limits.failure is None:
        return ok(subject, "It tells imaged the limits of projects.")
    return warning(
        subject,
        f"{limits.failure} The limits are those of [quotas] until then.",
        "Register a service of the type image, and give the account the role service.",
    )


def _role_finding(subject: str, identity: Identity) -> Finding:
    if identity.roles & VALIDATING_ROLES:
        return ok(subject, "The account may check tokens.")
    roles = ", ".join(sorted(identity.roles)) or "no role"
    return problem(
        subject,
        f"The account has {roles}: by Keystone's default policy it may not check tokens.",
        "Give it the role service: openstack role add service --user … --project …",
    )


def clock_finding(subject: str, issued_at: datetime, received_at: datetime) -> Finding:
    """Compare the clocks: a token says when it was made, cut to whole seconds."""
    difference = received_at - issued_at
    if abs(difference) <= MAX_CLOCK_DIFFERENCE:
        return ok(subject, "Its clock agrees with the one here.")
    where = "ahead of" if difference > timedelta(0) else "behind"
    return warning(
        subject,
        f"The clock here is {abs(difference).total_seconds():.0f} s {where} Keystone's, so tokens "
        "end at another time here.",
        "Keep both clocks by a time service.",
    )
