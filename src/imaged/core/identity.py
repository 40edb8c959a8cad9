"""Identities: what Keystone says of a token, and what the token may be used for.

The document is that of Keystone's Identity API v3, "Validate and show information for token". A
token is scoped to a project, to a domain, to the whole system, or to nothing: then it has no roles.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imaged.core.limits import MAX_OWNER_LENGTH

#: The type of this service in Keystone's catalog, which access rules name.
SERVICE_TYPE = "image"
#: The role of services, which may go on with the expired token of a user.
SERVICE_ROLE = "service"

MAX_RULES = 256  # of one application credential
MAX_ROLES = 256
MAX_MATCHED_PATH = 1024  # characters; no path of the API is half as long

_PIECE = re.compile(r"\{[^{}]*\}|\*\*|\*|[^{}*]+")
_SEGMENT = "*"
_ANYTHING = "**"


class TokenDocumentInvalid(ValueError):
    """The document is not the one of a token. The text names the field, and no value."""


@dataclass(frozen=True, slots=True)
class AccessRule:
    """A call that the token of a restricted application credential may be used for.

    ``path``: ``*`` and ``{name}`` stand for one segment of it, ``**`` for any rest.
    """

    service: str
    method: str
    path: str

    def allows(self, service: str, method: str, path: str) -> bool:
        """Whether the rule is for this call."""
        return (self.service, self.method) == (service, method) and _matches(self.path, path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """The user behind a token, and the scope and the roles of the token."""

    user: str
    user_domain: str
    roles: frozenset[str]
    issued_at: datetime
    expires_at: datetime
    project: str = ""
    project_domain: str = ""
    domain: str = ""
    is_system: bool = False
    access_rules: Sequence[AccessRule] | None = None  # None: the token is not restricted

    def may_call(self, method: str, path: str) -> bool:
        """Whether the access rules of the token, if it has any, allow this call of the API."""
        if self.access_rules is None:
            return True
        return any(rule.allows(SERVICE_TYPE, method, path) for rule in self.access_rules)


def parse_identity(document: object) -> Identity:
    """The identity in an answer of Keystone. Raises TokenDocumentInvalid."""
    token = _table(document, "token")
    user = _table(token, "user")
    project, domain = _optional_table(token, "project"), _optional_table(token, "domain")
    system = _optional_table(token, "system")
    return Identity(
        user=_text(user, "id"),
        user_domain=_domain_of(user),
        roles=frozenset(_roles(token)),
        issued_at=_moment(token, "issued_at"),
        expires_at=_moment(token, "expires_at"),
        project="" if project is None else _text(project, "id"),
        project_domain="" if project is None else _domain_of(project),
        domain="" if domain is None else _text(domain, "id"),
        is_system=system is not None and system.get("all") is True,
        access_rules=_access_rules(token),
    )


def _roles(token: Mapping[str, Any]) -> Iterator[str]:
    """The names of the roles: none if the token is not scoped."""
    for role in _list(token, "roles", MAX_ROLES):
        yield _text(role, "name")


def _access_rules(token: Mapping[str, Any]) -> Sequence[AccessRule] | None:
    """The rules of an application credential. One that was made with an empty list has none: it is
    not restricted.
    """
    credential = _optional_table(token, "application_credential")
    if credential is None or "access_rules" not in credential:
        return None
    return tuple(
        AccessRule(_text(rule, "service"), _text(rule, "method"), _text(rule, "path"))
        for rule in _list(credential, "access_rules", MAX_RULES)
    )


def _domain_of(owner: Mapping[str, Any]) -> str:
    domain = _optional_table(owner, "domain")
    return "" if domain is None else _text(domain, "id")


def _table(values: object, key: str) -> Mapping[str, Any]:
    found = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(found, Mapping):
        raise TokenDocumentInvalid(f"has no {key!r}")
    return found


def _optional_table(values: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    return None if values.get(key) is None else _table(values, key)


def _list(values: Mapping[str, Any], key: str, longest: int) -> Sequence[Any]:
    found = values.get(key, [])
    if not isinstance(found, list) or len(found) > longest:
        raise TokenDocumentInvalid(f"has no list of at most {longest} as {key!r}")
    return found


def _text(values: object, key: str) -> str:
    found = values.get(key) if isinstance(values, Mapping) else None
    if not isinstance(found, str) or not 0 < len(found) <= MAX_OWNER_LENGTH:
        raise TokenDocumentInvalid(f"has no text of at most {MAX_OWNER_LENGTH} as {key!r}")
    return found


def _moment(token: Mapping[str, Any], key: str) -> datetime:
    try:
        moment = datetime.fromisoformat(_text(token, key))
    except ValueError as error:
        raise TokenDocumentInvalid(f"has no time as {key!r}") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _matches(pattern: str, path: str) -> bool:
    """Whether the whole path is like the pattern, in time that both lengths multiply to at most: a
    user may write any pattern.
    """
    pieces = _PIECE.findall(pattern)
    if len(path) > MAX_MATCHED_PATH or "".join(pieces) != pattern:
        return False
    ends = {0}  # where in the path the pieces so far may end
    for piece in pieces:
        if piece == _ANYTHING:
            ends = set(range(min(ends), len(path) + 1))
        elif piece == _SEGMENT or piece.startswith("{"):
            ends = set(_ends_of_segments(path, ends))
        else:
            ends = {end + len(piece) for end in ends if path.startswith(piece, end)}
        if not ends:
            return False
    return len(path) in ends


def _ends_of_segments(path: str, starts: set[int]) -> Iterator[int]:
    """Where one or more characters that are no slash may end."""
    reached = 0
    for start in sorted(starts):
        slash = path.find("/", start)
        end = len(path) if slash < 0 else slash
        yield from range(max(start + 1, reached), end + 1)
        reached = max(reached, end + 1)
