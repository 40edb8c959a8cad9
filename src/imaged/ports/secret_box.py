"""What the services ask of whoever keeps secrets."""

from __future__ import annotations

from typing import Protocol


class SecretBox(Protocol):
    """Makes unreadable what is stored, and readable again. Both are quick."""

    def seal(self, secret: bytes) -> bytes:
        """Encrypt it. Raises SecretKeyUnavailable where it cannot."""
        ...

    def open(self, sealed: bytes) -> bytes:
        """Decrypt what ``seal`` made. Raises SecretUnreadable where another key was used;
        SecretKeyUnavailable.
        """
        ...
