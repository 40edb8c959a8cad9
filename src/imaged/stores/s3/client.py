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
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import timedelta
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import anyio
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.handlers import add_expect_header

from imaged.core.errors import StoreError
from imaged.core.retry_policy import RetryPolicy
from imaged.stores.s3.descriptions import lean_loader
from imaged.stores.s3.errors import (
    LIBRARY_ERRORS,
    CertificatesUnreadable,
    S3Errors,
    is_retryable,
    is_unavailable,
)
from imaged.stores.s3.parts import Part, StreamedPart
from imaged.stores.s3.read_ahead import ReadAheadMemory
from imaged.stores.s3.settings import S3Settings

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
    """Counts the failures of one call in a row, and measures for how long it has failed.

    More attempts than ``policy.attempts`` are made only while the server is unavailable.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._failed_at = 0.0
        self._pause_seconds = 0.0
        self.failures = 0

    def may_retry(self, error: BaseException) -> bool:
        """Whether another attempt is allowed and may help; ``pause`` comes before it."""
        if not is_retryable(error):
            return False
        now = anyio.current_time()
        if not self.failures:
            self._failed_at = now
        self.failures += 1
        policy = self._policy
        if not is_unavailable(error):
            policy = replace(policy, retry_for=timedelta(0))
        failing_for = timedelta(seconds=now - self._failed_at)
        chance = random.random()  # noqa: S311 - spreads load
        pause = policy.next_pause(self.failures, failing_for, chance)
        self._pause_seconds = 0.0 if pause is None else pause.total_seconds()
        return pause is not None

    async def pause(self) -> None:
        """Pause before the next attempt."""
        await anyio.sleep(self._pause_seconds)

    def reset_failures(self) -> None:
        """Forget earlier failures after progress was made."""
        self.failures = 0


class S3Client:
    """Makes calls about one bucket. Raises StoreError and its kinds, as ``s3/errors.py`` lists
    them.

    The library's client is opened by the first call, and belongs to one event loop at a time.
    """

    def __init__(self, store: str, settings: S3Settings) -> None:
        self.store = store
        self.settings = settings
        self.errors = S3Errors(store, settings)
        self.supports_conditional_writes = True  # until it says otherwise
        self.read_ahead = ReadAheadMemory(settings.tuning.read_ahead_bytes)
        self._root = settings.root
        self._retries = replace(
            settings.tuning.pauses, attempts=settings.attempts, retry_for=settings.retry_for
        )
        self._open = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._library_client: Any = None

    async def close(self) -> None:
        """Close all connections; the next call opens a new client."""
        self._library_client = None
        await self._open.aclose()

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
                answer["ResponseMetadata"]["RetryAttempts"] = count.failures
                return answer
            if before_repeat is not None:
                await before_repeat()
            await count.pause()

    def attempts(self, limit: int | None = None) -> RetryState:
        """A new count of attempts; without ``limit``, the limits are those of the settings."""
        if limit is not None:
            return RetryState(replace(self.settings.tuning.pauses, attempts=limit))
        return RetryState(self._retries)

    async def call_once(
        self,
        operation: str,
        key: str | None = None,
        *,
        body: Part | StreamedPart | None = None,
        **parameters: Any,
    ) -> S3Response:
        """Make a call once. Raises what the libraries raise (``errors.LIBRARY_ERRORS``)."""
        client = await self._connected()
        if key is not None:
            parameters["Key"] = self._root + key
        async with asyncio.timeout(MAX_CALL_SECONDS) as limit:
            if body is not None:
                patience = self.settings.read_timeout.total_seconds()
                _prolong(limit, self.settings.connect_timeout.total_seconds() + patience)
                parameters["Body"] = body.as_body(partial(_prolong, limit, patience))
            call = getattr(client, operation)
            return S3Response(self.store, await call(Bucket=self.settings.bucket, **parameters))

    async def presign(self, key: str, valid_for: timedelta, **parameters: Any) -> str:
        """A URL for ``get_object``, signed without a call. Never log it."""
        wanted = {"Bucket": self.settings.bucket, "Key": self._root + key, **parameters}
        try:
            client = await self._connected()
            url: str = await client.generate_presigned_url(
                "get_object", Params=wanted, ExpiresIn=int(valid_for.total_seconds())
            )
        except LIBRARY_ERRORS as error:
            raise self.errors.translate("get_object", key, error) from error
        return url

    async def _connected(self) -> Any:
        """The open client. Raises CertificatesUnreadable, and what the library raises."""
        if self._library_client is None:
            async with self._opening:
                if self._library_client is None:
                    await asyncio.to_thread(_require_certificates, self.settings.ca_file)
                    client = await self._open.enter_async_context(_new_client(self.settings))
                    client.meta.events.unregister("before-call.s3", add_expect_header)
                    self._library_client = client
        return self._library_client


def _new_client(settings: S3Settings) -> Any:
    keys: dict[str, Any] = {}
    if settings.access_key is not None and settings.secret_key is not None:
        keys = {
            "aws_access_key_id": settings.access_key.reveal(),
            "aws_secret_access_key": settings.secret_key.reveal(),
        }
    return _library().create_client(
        "s3",
        region_name=settings.region,
        endpoint_url=settings.endpoint or None,
        verify=str(settings.ca_file) if settings.ca_file else True,
        config=_config(settings),
        **keys,
    )


@cache
def _library() -> AioSession:
    """One per process: it reads its descriptions of S3 once."""
    session = get_session()
    loader = lean_loader(session.get_config_variable("data_path"))
    session.register_component("data_loader", loader)
    return session


def _config(settings: S3Settings) -> AioConfig:
    """The library's settings.

    Its retries are off, because this module is the only layer that retries. Checksums and
    signatures of bodies are off, because the library computes them on the event loop; parts carry a
    checksum from a thread (``s3/parts.py``), and TLS protects them in transit. S3-compatible stores
    support that best, too. ``Expect: 100-continue`` is not sent: it costs a round trip per part,
    and some stores never answer it. Connections are not limited here: uploads are limited by their
    parts, downloads by the clients that the API admits. Parameters are not validated, and the name
    of the client is short: the library composed its own twice, a sixth of the time of a call.
    """
    return AioConfig(
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=settings.connect_timeout.total_seconds(),
        read_timeout=settings.read_timeout.total_seconds(),
        max_pool_connections=0,  # no limit
        user_agent=f"imaged/{version('imaged')}",
        parameter_validation=False,
        s3={"addressing_style": settings.addressing, "payload_signing_enabled": False},
    )


def _require_certificates(file: Path | None) -> None:
    """Read the file, because the library's error does not name the cause. Blocks."""
    if file is not None:
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            raise CertificatesUnreadable(str(file)) from error


def _prolong(limit: asyncio.Timeout, seconds: float) -> None:
    with suppress(RuntimeError):  # the answer arrived before all was sent
        limit.reschedule(asyncio.get_running_loop().time() + seconds)
