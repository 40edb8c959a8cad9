"""The interface for encrypting secrets at rest."""

from __future__ import annotations

from typing import Protocol


class SecretBox(Protocol):
    """Encrypts and decrypts secrets. Both operations are fast."""

    def seal(self, secret: bytes) -> bytes:
        """Encrypt it. Raises SecretKeyUnavailable."""
        ...

    def open(self, sealed: bytes) -> bytes:
        """Decrypt the result of ``seal``. Raises SecretUnreadable if another key was used,
        SecretKeyUnavailable.
        """
        ...
