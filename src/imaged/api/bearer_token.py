"""A token for programs without an account: ``Authorization: Bearer`` (RFC 6750, 2.1)."""

from __future__ import annotations

import hmac
from pathlib import Path

from starlette.datastructures import Headers

from imaged.api.authenticator import TokenFileInvalid

MIN_TOKEN_LENGTH = 16  # characters: shorter ones can be guessed
SCHEME = "bearer"


class BearerToken:
    """The token in the only line of a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = _read(path)

    def is_shown(self, headers: Headers) -> bool:
        """Whether the headers contain it. The comparison takes constant time."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != SCHEME:
            return False
        return hmac.compare_digest(shown.strip().encode("latin-1"), self._token)

    def reload(self, path: Path) -> None:
        """Read the file again. If it raises TokenFileInvalid, the old token stays valid."""
        self._token, self.path = _read(path), path


def _read(path: Path) -> bytes:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise TokenFileInvalid(f"The token file {path} cannot be read: {why}.") from error
    if len(token) < MIN_TOKEN_LENGTH or len(token.split()) != 1:
        raise TokenFileInvalid(
            f"The token file {path} must hold one token of {MIN_TOKEN_LENGTH} characters or more, "
            "such as `openssl rand -hex 32` makes."
        )
    return token.encode()
