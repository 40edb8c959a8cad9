"""Checks of Keystone: its endpoints, the account of imaged there, its role, and the clocks."""

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
from imaged.keystone.session import KeystoneSession
from imaged.keystone.settings import KeystoneSettings

#: By Keystone's default policy. Asking about an invented token proves nothing: the answer is the
#: same whatever rights the account has, and about its own token it may always ask.
VALIDATING_ROLES = frozenset({"service", "admin"})
MAX_CLOCK_DIFFERENCE = timedelta(seconds=10)


async def check_keystone(config: Config) -> AsyncIterator[Finding]:
    """Sign in at each endpoint; nothing is left there but a token."""
    if config.auth.method != "keystone":
        return
    try:
        settings = keystone_settings(config)
    except KeystoneSettingsUnusable as error:
        yield problem("keystone", str(error), "Correct the file, or its name in [auth.keystone].")
        return
    for url in settings.urls:
        async for finding in _check_endpoint(url, replace(settings, urls=(url,))):
            yield finding


async def _check_endpoint(url: str, settings: KeystoneSettings) -> AsyncIterator[Finding]:
    subject, began = f"keystone {url}", time.monotonic()
    try:
        session = KeystoneSession(settings)
        try:
            identity = (await session.token()).identity
        finally:
            await session.close()
    except KeystoneError as error:
        yield problem(subject, str(error), "Correct it, or [auth.keystone].")
        return
    received_at, took = datetime.now(UTC), time.monotonic() - began
    yield ok(subject, f"It let imaged sign in: it took {took * 1000:.0f} ms.")
    yield _role_finding(subject, identity)
    yield clock_finding(subject, identity.issued_at, received_at)


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
