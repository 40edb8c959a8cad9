"""Credentials of an S3 store: values that nothing shows by accident.

They come from files, the environment or systemd, and are resolved by the configuration; where there
are none, the library looks into its own environment variables and files and asks for the role of
the instance. Only ``s3/session.py`` reveals them, to the library that signs with them.
"""

from __future__ import annotations

import hmac
from pathlib import Path
from typing import NoReturn


class Secret:
    """A text that is shown to nobody who does not ask for it by name."""

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
    """The first line of a file, without white space around it. Raises OSError, ValueError."""
    lines = path.read_text(encoding="utf-8").split("\n", maxsplit=1)
    text = lines[0].strip()
    if not text:
        message = f"{path} must begin with a line that has the key, and it is empty"
        raise ValueError(message)
    return Secret(text)
