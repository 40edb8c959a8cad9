"""The root of all errors that are raised on purpose."""

from __future__ import annotations


class ImagedError(Exception):
    """Base of every error that this package raises on purpose. Its text is meant for people."""

    @property
    def for_clients(self) -> str:
        """The text, unless it may name paths, hosts or keys: those are for the log alone."""
        return str(self)
