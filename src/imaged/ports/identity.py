"""The interface of the service that knows the tokens of callers: Keystone."""

from __future__ import annotations

from typing import Protocol

from imaged.core.identity import Identity

#: What is told to the meter of Keystone: signing in, asking about a token, reading anything else.
KEYSTONE_OPERATIONS = ("login", "validate", "read")


class IdentityService(Protocol):
    """Says whose a token is."""

    async def validate(self, token: str, *, allow_expired: bool = False) -> Identity:
        """Return the identity behind a token.

        ``allow_expired``: also of one that has expired, for as long as the service itself allows.

        Raises TokenRefused; KeystoneError if the service does not answer, or not to this account.
        """
        ...
