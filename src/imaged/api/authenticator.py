"""Authentication: of callers by their tokens, and of programs without an account.

``Authenticator`` is the interface for further methods of authentication: the application calls it
once per request, before any other part of the Image API.
"""

from __future__ import annotations

import hashlib
import hmac
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Protocol

import msgspec
from starlette.datastructures import Headers

from imaged.api.allowed_hosts import AllowedHosts
from imaged.api.http_errors import Unauthenticated
from imaged.core.access import Caller, with_implied_roles
from imaged.core.errors import ImagedError
from imaged.core.limits import MAX_OWNER_LENGTH

ADMIN = Caller("admin", "admin", frozenset({"admin", "member", "reader"}))
MIN_TOKEN_LENGTH = 16  # characters: shorter ones can be guessed
BEARER_SCHEME = "bearer"


class TokenFileInvalid(ImagedError):
    """The token file is invalid. The text names the entry and its field."""

    needs_correction = True


class Authenticator(Protocol):
    """Identifies callers by the headers of their requests."""

    async def authenticate(self, headers: Headers, method: str, path: str) -> Caller:
        """Return the caller that sent these headers, for this call. Raises HttpError,
        KeystoneError.
        """
        ...


class NoAuth:
    """All callers are the administrator, except web pages in a browser."""

    def __init__(self, names: AllowedHosts) -> None:
        self._names = names

    async def authenticate(self, headers: Headers, method: str, path: str) -> Caller:
        """Return the administrator. Raises HostRefused, CrossSiteRefused."""
        del method, path
        self._names.require_allowed(headers)
        return ADMIN


_Word = Annotated[
    str, msgspec.Meta(min_length=1, max_length=MAX_OWNER_LENGTH, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-fA-F]{64}$")]
    user: _Word
    project: _Word
    roles: Annotated[list[_Word], msgspec.Meta(min_length=1)]


class TokenFile:
    """Authenticates callers by tokens whose hashes are in a file.

        [[token]]
        sha256 = "…"         # of the token, hexadecimal
        user = "alice"
        project = "web"
        roles = ["member"]   # reader, member, admin, service

    As in Keystone, an admin has the role member too, and a member the role reader.
    Looking up the hash does not reveal how much of a guessed token was right.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._callers = _read(path)

    async def authenticate(self, headers: Headers, method: str, path: str) -> Caller:
        """Return the caller that the token belongs to. Raises Unauthenticated."""
        del method, path
        token = headers.get("x-auth-token", "")
        caller = self._callers.get(token_hash(token)) if token else None
        if caller is None:
            raise Unauthenticated
        return caller

    def reload(self, path: Path | None = None) -> None:
        """Read the file again. If it raises TokenFileInvalid, the old tokens stay valid."""
        path = path or self.path
        self._callers, self.path = _read(path), path


class BearerToken:
    """The token in the only line of a file, sent as ``Authorization: Bearer`` (RFC 6750, 2.1)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._token = _read_token(path)

    def is_shown(self, headers: Headers) -> bool:
        """Whether the headers contain it. The comparison takes constant time."""
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        if scheme.lower() != BEARER_SCHEME:
            return False
        return hmac.compare_digest(shown.strip().encode("latin-1"), self._token)

    def reload(self, path: Path) -> None:
        """Read the file again. If it raises TokenFileInvalid, the old token stays valid."""
        self._token, self.path = _read_token(path), path


def token_hash(token: str) -> str:
    """The hash of a token, as in the file."""
    return hashlib.sha256(token.encode("latin-1", errors="replace")).hexdigest()


def _read(path: Path) -> Mapping[str, Caller]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise TokenFileInvalid(
            f"The token file {path} cannot be read: {why}. `imaged token` prints entries for it."
        ) from error
    entries = tables.pop("token", [])
    if tables or not isinstance(entries, list):
        raise TokenFileInvalid(f"The token file {path} may hold [[token]] entries only.")
    callers: dict[str, Caller] = {}
    for number, table in enumerate(entries, start=1):
        digest, caller = _caller(path, number, table)
        if digest in callers:
            raise TokenFileInvalid(
                f"The token file {path}, entry {number}: 'sha256' is there twice."
            )
        callers[digest] = caller
    return callers


def _caller(path: Path, number: int, table: object) -> tuple[str, Caller]:
    try:
        entry = msgspec.convert(table, _Entry)
    except msgspec.ValidationError as error:
        raise TokenFileInvalid(f"The token file {path}, entry {number}: {error}.") from error
    return entry.sha256.lower(), Caller(
        entry.user, entry.project, with_implied_roles(frozenset(entry.roles))
    )


def _read_token(path: Path) -> bytes:
    try:
        token = path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not ASCII"
        raise TokenFileInvalid(
            f"The token file {path} cannot be read: {why}. `openssl rand -hex 32` makes a token."
        ) from error
    if len(token) < MIN_TOKEN_LENGTH or len(token.split()) != 1:
        raise TokenFileInvalid(
            f"The token file {path} must hold one token of {MIN_TOKEN_LENGTH} characters or more, "
            "such as `openssl rand -hex 32` makes."
        )
    return token.encode()
