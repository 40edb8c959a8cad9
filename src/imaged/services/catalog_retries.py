"""Retries calls to an unavailable catalog, as long as the calling work may wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from imaged.core.errors import CatalogUnavailable

T = TypeVar("T")

FIRST_CATALOG_PAUSE_SECONDS = 0.1
MAX_CATALOG_PAUSE_SECONDS = 2.0


async def retry_until_available(ask: Callable[[], Awaitable[T]]) -> T:
    """Retry until the catalog answers, and return the answer or raise the refusal.

    The caller's cancel scope limits the retries: that of a claim ends with its lease. The call may
    be carried out twice, because an answer may be lost.
    """
    pause_seconds = FIRST_CATALOG_PAUSE_SECONDS
    while True:
        try:
            return await ask()
        except CatalogUnavailable:
            await anyio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, MAX_CATALOG_PAUSE_SECONDS)
