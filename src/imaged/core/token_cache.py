"""Answers of Keystone about tokens, kept for a while and in bounded memory.

Instants are seconds of one monotonic clock. Tokens are known by a digest, so the memory of the
process has no list of tokens. Refusals have room of their own: requests with invented tokens cannot
push out the answers about good ones.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta

from imaged.core.errors import TokenRefused
from imaged.core.identity import Identity
from imaged.core.limits import KIB, MIB

REFUSED_FOR = timedelta(seconds=5)
MAX_REFUSALS = 10_000
MAX_BYTES = 16 * MIB  # of identities, estimated

_IDENTITY_BYTES = 1 * KIB
_ROLE_BYTES = 100
_RULE_BYTES = 600


@dataclass(frozen=True, slots=True)
class _Kept:
    identity: Identity
    since: float
    ends_at: float  # of the token itself
    size_bytes: int


class TokenCache:
    """What Keystone said of tokens. ``cache_time`` may change at any time, and counts for answers
    that are kept already.
    """

    def __init__(
        self,
        cache_time: timedelta,
        max_bytes: int = MAX_BYTES,
        max_refusals: int = MAX_REFUSALS,
    ) -> None:
        self.cache_time = cache_time
        self._max_bytes = max_bytes
        self._max_refusals = max_refusals
        self._identities: OrderedDict[bytes, _Kept] = OrderedDict()  # the longest unused one first
        self._size_bytes = 0
        self._refused_at: OrderedDict[bytes, float] = OrderedDict()  # the oldest first

    def find(self, key: bytes, now: float) -> Identity | None:
        """The identity behind a token; None: Keystone must be asked. Raises TokenRefused."""
        kept = self._identities.get(key)
        if kept is not None:
            if now < min(kept.since + self.cache_time.total_seconds(), kept.ends_at):
                self._identities.move_to_end(key)
                return kept.identity
            self._drop(key)
        refused_at = self._refused_at.get(key)
        if refused_at is not None and now < refused_at + REFUSED_FOR.total_seconds():
            raise TokenRefused
        return None

    def keep(self, key: bytes, identity: Identity, now: float, lives: timedelta) -> None:
        """Keep an answer. ``lives``: how long the token itself is valid from now on."""
        self._refused_at.pop(key, None)
        self._drop(key)
        if lives <= timedelta(0):
            return
        size_bytes = _size_of(identity)
        self._identities[key] = _Kept(identity, now, now + lives.total_seconds(), size_bytes)
        self._size_bytes += size_bytes
        while self._size_bytes > self._max_bytes:
            self._drop(next(iter(self._identities)))

    def refuse(self, key: bytes, now: float) -> None:
        """Keep a refusal."""
        self._drop(key)
        self._refused_at.pop(key, None)
        self._refused_at[key] = now
        while len(self._refused_at) > self._max_refusals:
            self._refused_at.popitem(last=False)

    def __len__(self) -> int:
        """The number of tokens that it knows something of."""
        return len(self._identities) + len(self._refused_at)

    @property
    def size_bytes(self) -> int:
        """The estimated size of the identities."""
        return self._size_bytes

    def _drop(self, key: bytes) -> None:
        if (kept := self._identities.pop(key, None)) is not None:
            self._size_bytes -= kept.size_bytes


def _size_of(identity: Identity) -> int:
    rules = len(identity.access_rules or ())
    return _IDENTITY_BYTES + _ROLE_BYTES * len(identity.roles) + _RULE_BYTES * rules
