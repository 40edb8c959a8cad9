"""Where events are sent, and how they are signed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from imaged.core.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSettings:
    """Settings of ``[notifications]``. The query of ``url`` may be a secret."""

    url: str
    secrets: Sequence[Secret]
    ca_file: Path | None
    publisher_id: str
    timeout: timedelta  # of a request, from the lookup of the name to the answer
    concurrency: int  # connections

    @property
    def receiver(self) -> str:
        """The URL without what may be a secret, for messages."""
        from yarl import URL

        return str(URL(self.url).with_user(None).with_query(None).with_fragment(None))
