"""The root of all errors that this package raises on purpose."""

from __future__ import annotations


class ImagedError(Exception):
    """Base of every error that this package raises on purpose. Its text is meant for people.

    ``http_status``: the status of the answer to the request that failed so (RFC 9110, section 15).
    None: no fault of a request, but a mistake of the server, whose text is only logged.
    ``remedy``: what the client, user or operator can do; the pages of the reference show it.
    Subclasses have those of their base, unless they set others.
    """

    http_status: int | None = None
    remedy: str = ""

    @property
    def for_clients(self) -> str:
        """The text for clients; without paths, hosts and keys, which belong in the log only."""
        return str(self)
