"""Calls of S3, each with a deadline and retried where that may help.

This is the only layer that retries. Retryable errors (``s3/errors.py``) are retried a few times,
with growing random pauses, so that many clients do not return in step. While a server refuses
connections or work, as it does during a restart, a call is retried for ``retry_for``, however many
attempts that takes. A call fails when no byte has moved for ``read_timeout`` in either direction;
the library watches received bytes, this module sent ones. A call that failed may still have been
carried out: if its effect matters, the caller has to verify it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, NoReturn

import anyio

from imaged.core.errors import StoreError
from imaged.stores.s3.errors import LIBRARY_ERRORS, S3Errors, is_retryable, is_unavailable
from imaged.stores.s3.parts import Part
from imaged.stores.s3.session import S3Session
from imaged.stores.s3.settings import S3Settings
from imaged.stores.s3.streamed_part import StreamedPart

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 5.0
MAX_CALL_SECONDS = 600.0  # some stores take minutes to complete an upload, byte by byte

Parameters = dict[str, Any]


class S3Response(dict[str, Any]):
    """The answer to a call. What S3 always sends may be taken from it without a check.

    Empty texts are left out: Ceph RGW 16.2 sends an empty ETag at first, and Swift 2.38 empty
    markers.
    """

    def __init__(self, store: str, answer: Parameters) -> None:
        super().__init__({name: value for name, value in answer.items() if value != ""})
        self._store = store

    @property
    def has_md5_for_etag(self) -> bool:
        """Whether the ETag of a part is the MD5 of its bytes.

        It is, unless they are encrypted by SSE-C or SSE-KMS (Amazon S3 API reference, Object).
        """
        is_with_own_key = "SSECustomerAlgorithm" in self
        return not is_with_own_key and self.get("ServerSideEncryption", "AES256") == "AES256"

    @property
    def metadata(self) -> dict[str, str]:
        """The metadata of an object. Header names are case-insensitive (RFC 9110, 5.1)."""
        return {name.lower(): text for name, text in self.get("Metadata", {}).items()}

    def within(self, name: str) -> S3Response:
        """A nested structure of the answer."""
        return S3Response(self._store, self[name])

    def __missing__(self, name: str) -> NoReturn:
        why = f"got an answer without {name}: check that its endpoint is right and speaks S3"
        raise StoreError(self._store, why)


class RetryState:
    """Counts the attempts of one call, and measures how long it has failed.

    ``limit``: the number of attempts that are always allowed. ``retry_for``: how long further
    attempts are allowed while the server is unavailable, counted from the first failure.
    """

    def __init__(self, limit: int, retry_for: timedelta = timedelta(0)) -> None:
        self._limit = limit
        self._retry_seconds = retry_for.total_seconds()
        self._failed_at: float | None = None
        self._made = 1

    @property
    def repeats(self) -> int:
        """The number of attempts after the first."""
        return self._made - 1

    def may_retry(self, error: BaseException) -> bool:
        """Whether another attempt is allowed and may help."""
        if self._failed_at is None:
            self._failed_at = anyio.current_time()
        if self._made < self._limit:
            return is_retryable(error)
        return self._left_seconds() > 0 and is_unavailable(error)

    async def pause(self) -> None:
        """Pause before the next attempt; the last attempt is made when the time ends."""
        longest = min(FIRST_PAUSE_SECONDS * 2 ** min(self.repeats, 10), LONGEST_PAUSE_SECONDS)
        seconds = random.uniform(longest / 2, longest)  # noqa: S311 - spreads load
        if self._made >= self._limit:
            seconds = min(seconds, self._left_seconds())
        self._made += 1
        await anyio.sleep(seconds)

    def reset_failures(self) -> None:
        """Forget earlier failures after progress was made."""
        self._failed_at = None
        self._made = 1

    def _left_seconds(self) -> float:
        failed_at = anyio.current_time() if self._failed_at is None else self._failed_at
        return failed_at + self._retry_seconds - anyio.current_time()


class S3Client:
    """Makes calls about one bucket. Raises StoreError and its kinds, as ``s3/errors.py`` lists
    them.
    """

    def __init__(self, store: str, settings: S3Settings, session: S3Session) -> None:
        self.store = store
        self.settings = settings
        self.errors = S3Errors(store, settings)
        self.supports_conditional_writes = True  # until it says otherwise
        self._session = session

    async def call(
        self,
        operation: str,
        key: str | None = None,
        *,
        body: Part | StreamedPart | None = None,
        attempts: int | None = None,
        before_repeat: Callable[[], Awaitable[None]] | None = None,
        **parameters: Any,
    ) -> S3Response:
        """Make a call; retry where that may help.

        The answer's ``ResponseMetadata`` has the number of retries (``RetryAttempts``).
        ``attempts``: the maximum, however short they are. ``before_repeat`` is awaited before each
        retry; what it raises ends the call.
        """
        count = self.attempts(attempts)
        while True:
            try:
                answer = await self.call_once(operation, key, body=body, **parameters)
            except LIBRARY_ERRORS as error:
                if not count.may_retry(error):
                    raise self.errors.translate(
                        operation, key, error, on_condition="IfNoneMatch" in parameters
                    ) from error
            else:
                answer["ResponseMetadata"]["RetryAttempts"] = count.repeats
                return answer
            if before_repeat is not None:
                await before_repeat()
            await count.pause()

    def attempts(self, limit: int | None = None) -> RetryState:
        """A new count of attempts; without ``limit``, the limits are those of the settings."""
        if limit is not None:
            return RetryState(limit)
        return RetryState(self.settings.attempts, self.settings.retry_for)

    async def call_once(
        self,
        operation: str,
        key: str | None = None,
        *,
        body: Part | StreamedPart | None = None,
        **parameters: Any,
    ) -> S3Response:
        """Make a call once. Raises what the libraries raise (``errors.LIBRARY_ERRORS``)."""
        client = await self._session.client()
        if key is not None:
            parameters["Key"] = self.settings.root + key
        async with asyncio.timeout(MAX_CALL_SECONDS) as limit:
            if body is not None:
                patience = self.settings.read_timeout.total_seconds()
                _prolong(limit, self.settings.connect_timeout.total_seconds() + patience)
                parameters["Body"] = body.as_body(partial(_prolong, limit, patience))
            call = getattr(client, operation)
            return S3Response(self.store, await call(Bucket=self.settings.bucket, **parameters))


def _prolong(limit: asyncio.Timeout, seconds: float) -> None:
    with suppress(RuntimeError):  # the answer arrived before all was sent
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
