"""The beat of an instance: it says that it is there, so that operators see who works on a catalog.

Nothing depends on it but what ``imaged status`` shows: work is held by leases, and a lease knows
nothing of beats. An instance that was killed is shown as silent for a while, and then forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import structlog

from imaged.core.errors import CatalogError
from imaged.core.summary import Instance
from imaged.ports.catalog import Catalog

log = structlog.get_logger()

SHOWN_SILENT_LEASES = 10  # how long a silent one is shown, so that somebody looks for why
UNREGISTER_SECONDS = 5
MAX_TROUBLES = 20  # that operators are shown; the log has all of them
MAX_TROUBLE_LENGTH = 300  # characters


class Heartbeat:
    """Keeps one row of the catalog, as long as the instance lives."""

    def __init__(
        self,
        catalog: Catalog,
        instance: Instance,
        lease: timedelta,
        troubles: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._catalog = catalog
        self._instance = instance
        self._troubles = troubles
        self._forget_after = SHOWN_SILENT_LEASES * lease

    async def send(self) -> None:
        """Say that it is there, and what troubles it has. Raises CatalogError."""
        troubles = tuple(
            trouble[:MAX_TROUBLE_LENGTH] for trouble in self._troubles()[:MAX_TROUBLES]
        )
        instance = replace(self._instance, troubles=troubles)
        await self._catalog.register_instance(instance, self._forget_after)

    async def stop(self) -> None:
        """Say that it ends. Where nobody listens, the row goes by itself."""
        with anyio.move_on_after(UNREGISTER_SECONDS, shield=True):
            try:
                await self._catalog.unregister_instance(self._instance.id)
            except CatalogError as error:
                log.warning("instance.leave_failed", error=str(error))
