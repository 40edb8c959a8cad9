"""The reach and the time limits of fetches."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from imaged.core.network_policy import Network
from imaged.core.retry_policy import RetryPolicy

RETRIES = RetryPolicy(
    first_pause=timedelta(seconds=0.5), longest_pause=timedelta(seconds=15), attempts=5
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchSettings:
    """Settings of ``[fetch]``."""

    allow: tuple[Network, ...]  # beyond the public internet
    ports: tuple[int, ...]
    redirects: int = 10
    retries: RetryPolicy = RETRIES  # in a row, without a byte in between
    connect_timeout: timedelta = timedelta(seconds=10)
    answer_timeout: timedelta = timedelta(seconds=60)  # from the request to the headers
    total_time: timedelta
    min_bytes_per_second: int
    rate_window: timedelta = timedelta(seconds=30)
    ca_file: Path | None
