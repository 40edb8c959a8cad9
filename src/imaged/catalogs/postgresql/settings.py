"""How long calls of PostgreSQL may take."""

from __future__ import annotations

from dataclasses import dataclass

from imaged.catalogs.database import LIST_WAIT_SECONDS


@dataclass(frozen=True, slots=True)
class PostgresqlSettings:
    """How long calls may take."""

    transaction_seconds: float = 20  # longer than the server's own limits, whose errors say more
    check_seconds: float = 2
    list_wait_seconds: float = LIST_WAIT_SECONDS
    turn_seconds: float = 120  # a thousand changes pass meanwhile; then the transaction begins
