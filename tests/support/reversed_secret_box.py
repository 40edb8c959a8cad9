"""A secret box without a secret."""

from __future__ import annotations


class ReversedSecretBox:
    """Secrets are read backwards."""

    def seal(self, secret: bytes) -> bytes:
        """Turn it round."""
        return secret[::-1]

    def open(self, sealed: bytes) -> bytes:
        """Turn it back."""
        return sealed[::-1]
