"""The root of all errors that this package raises on purpose."""

from __future__ import annotations


class ImagedError(Exception):
    """Base of every error that this package raises on purpose. Its text is meant for people.

    ``sentence``: the text, with a pair of braces for each argument of the class.
    ``http_status``: the status of the answer to the request that failed so (RFC 9110, section 15).
    None: no fault of a request, but a mistake of the server, whose text is only logged.
    ``remedy``: what the client, user or operator can do; the pages of the reference show it.
    ``client_text``: the text for clients, where the other one has paths, hosts or keys, which
    belong in the log only; a name of an attribute in braces stands for its value.
    ``needs_correction``: whether a start that failed so fails again until an operator has corrected
    the configuration; otherwise what is missing may come back by itself.
    ``is_outage``: whether a store or the catalog does not work. The log has one event at the
    beginning of an outage and one at its end (``telemetry/outages.py``), so nothing else logs this
    error as a warning.
    Subclasses have those of their base, unless they set others.
    """

    sentence: str = "{}"
    http_status: int | None = None
    remedy: str = ""
    client_text: str = ""
    needs_correction: bool = False
    is_outage: bool = False

    def __init__(self, *facts: object) -> None:
        super().__init__(self.sentence.format(*facts))

    @property
    def for_clients(self) -> str:
        """The text for clients."""
        return self.client_text.format_map(vars(self)) if self.client_text else str(self)
