"""The connection to an S3 store: one client, opened when it is first needed.

What is set, and why. The library's retries are off, because ``s3/client.py`` is the only layer that
retries. Checksums and signatures of bodies are off, because the library computes them on the event
loop; parts carry a checksum from a thread (``s3/parts.py``), and TLS protects them in transit.
S3-compatible stores support that best, too. ``Expect: 100-continue`` is not sent: it costs a round
trip per part, and some stores never answer it. Connections are not limited here: uploads are
limited by their parts, downloads by the clients that the API admits.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AsyncExitStack
from functools import cache
from pathlib import Path
from typing import Any

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.handlers import add_expect_header

from imaged.stores.s3.settings import S3Settings


class S3Session:
    """Owns the client. Belongs to one event loop at a time."""

    def __init__(self, settings: S3Settings) -> None:
        self._settings = settings
        self._open = AsyncExitStack()
        self._client: Any = None
        self._opening = asyncio.Lock()

    async def client(self) -> Any:
        """Return the open client. Raises CertificatesUnreadable, and what the library raises."""
        if self._client is None:
            async with self._opening:
                if self._client is None:
                    await asyncio.to_thread(require_certificates, self._settings.ca_file)
                    self._client = await self._open.enter_async_context(self._new_client())
                    self._client.meta.events.unregister("before-call.s3", add_expect_header)
        return self._client

    async def close(self) -> None:
        """Close all connections; the next call opens a new client."""
        self._client = None
        await self._open.aclose()

    def _new_client(self) -> Any:
        settings = self._settings
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


class CertificatesUnreadable(OSError):
    """The file of certificates is missing or has none."""


def require_certificates(file: Path | None) -> None:
    """Read the file, because the library's error does not name the cause. Blocks."""
    if file is not None:
        try:
            ssl.create_default_context(cafile=file)
        except OSError as error:
            raise CertificatesUnreadable(str(file)) from error


@cache
def _library() -> AioSession:
    """One per process: it reads its descriptions of S3 once."""
    return get_session()


def _config(settings: S3Settings) -> AioConfig:
    return AioConfig(
        signature_version="s3v4",
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        retries={"total_max_attempts": 1, "mode": "standard"},
        connect_timeout=settings.connect_timeout.total_seconds(),
        read_timeout=settings.read_timeout.total_seconds(),
        max_pool_connections=0,  # no limit
        s3={"addressing_style": settings.addressing, "payload_signing_enabled": False},
    )
