"""Validates tokens: asks Keystone once about each, and then answers from memory for a while.

Simultaneous requests with one token ask once: the first one asks, the others wait for its answer.
If the first one is cancelled, because its client left, the next one asks.

While Keystone is silent, one request at a time waits for it, and the others are refused at once:
requests that all waited for a timeout would take the connections from those that need no answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from datetime import UTC, datetime

import anyio

from imaged.core.errors import ImagedError, KeystoneSilent, TokenRefused
from imaged.core.identity import Identity
from imaged.core.token_cache import TokenCache
from imaged.ports.identity import IdentityService

#: Fernet tokens have 162 to 255 characters, JWS tokens about 1,000. Web servers before Keystone
#: break off connections with headers of 4 KiB, which would look like an outage.
_TOKEN = re.compile(r"[\x21-\x7e]{1,3072}")
#: Keystone ignores them at the end of a token, and so they would make more keys for one token.
_IGNORED = "= \t"


class _Question:
    """One question to Keystone, and the answer, for all that wait for it. Without an answer at its
    end, it was cancelled.
    """

    def __init__(self) -> None:
        self.ended = anyio.Event()
        self.identity: Identity | None = None
        self.error: ImagedError | None = None


class TokenValidator:
    """Returns the identities behind tokens. ``clock``: the time by which tokens expire."""

    def __init__(
        self,
        keystone: IdentityService,
        cache: TokenCache,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.cache = cache
        self._keystone = keystone
        self._clock = clock
        self._questions: dict[bytes, _Question] = {}
        self._silence: KeystoneSilent | None = None  # at the last question

    async def identify(self, token: str, *, allow_expired: bool = False) -> Identity:
        """Return the identity behind a token. ``allow_expired``: also of one that has expired.

        Raises TokenRefused, KeystoneError.
        """
        token = token.strip(" \t").rstrip(_IGNORED)
        if _TOKEN.fullmatch(token) is None:
            raise TokenRefused
        key = _key(token, allow_expired=allow_expired)
        while True:
            identity = self.cache.find(key, anyio.current_time())
            if identity is not None:
                return identity
            question = self._questions.get(key)
            if question is None:
                return await self._ask(key, token, allow_expired=allow_expired)
            await question.ended.wait()
            if question.error is not None:
                raise question.error.with_traceback(None)
            if question.identity is not None:
                return question.identity

    async def _ask(self, key: bytes, token: str, *, allow_expired: bool) -> Identity:
        if self._silence is not None and self._questions:
            raise self._silence.with_traceback(None)
        question = self._questions[key] = _Question()
        try:
            identity = await self._keystone.validate(token, allow_expired=allow_expired)
        except ImagedError as error:
            question.error = error
            self._silence = error if isinstance(error, KeystoneSilent) else None
            if isinstance(error, TokenRefused):
                self.cache.refuse(key, anyio.current_time())
            raise
        else:
            question.identity, self._silence = identity, None
            self._keep(key, identity, allow_expired=allow_expired)
            return identity
        finally:
            del self._questions[key]
            question.ended.set()

    def _keep(self, key: bytes, identity: Identity, *, allow_expired: bool) -> None:
        """Keep the answer: until the token ends, if that is what ends it."""
        lives = self.cache.cache_time
        if not allow_expired:
            lives = min(lives, identity.expires_at - self._clock())
        self.cache.keep(key, identity, anyio.current_time(), lives)


def _key(token: str, *, allow_expired: bool) -> bytes:
    """The key of the answer about a token. What holds for an expired token holds for no other."""
    return hashlib.sha256(token.encode("ascii") + (b" expired" if allow_expired else b"")).digest()
