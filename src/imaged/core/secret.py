"""Secrets that the daemon holds: passwords and keys of other services."""

from __future__ import annotations

import hmac
from typing import NoReturn


class Secret:
    """A text that is never printed by accident: only ``reveal`` shows it.

    Only the driver that it is for reveals it: to the library that signs with it, or in the request
    that signs in.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._text.encode(), other._text.encode())

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __bool__(self) -> bool:
        return bool(self._text)

    def __reduce__(self) -> NoReturn:
        message = "a secret is not written anywhere"
        raise TypeError(message)
