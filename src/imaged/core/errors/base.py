"""The root of all errors that this package raises on purpose."""

from __future__ import annotations


class ImagedError(Exception):
    """Base of every error that this package raises on purpose. Its text is meant for people."""

    @property
    def for_clients(self) -> str:
        """The text for clients; without paths, hosts and keys, which belong in the log only."""
        return str(self)
