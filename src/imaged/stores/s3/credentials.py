"""Credentials of an S3 store, in a type that is never printed by accident.

The configuration reads them from files, the environment or systemd. Without any, the library
searches its own environment variables and files and asks for the role of the instance. Only
``s3/session.py`` reveals them, to the library that signs with them.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import NoReturn


class Secret:
    """A text that only ``reveal`` shows."""

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


def read_secret(path: Path) -> Secret:
    """The first line of a file, stripped of white space. Raises OSError, ValueError."""
    lines = path.read_text(encoding="utf-8").split("\n", maxsplit=1)
    text = lines[0].strip()
    if not text:
        message = f"{path} must begin with a line that has the key, and it is empty"
        raise ValueError(message)
    return Secret(text)
