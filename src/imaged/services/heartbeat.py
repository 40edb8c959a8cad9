"""The registration of a running instance in the catalog, so that operators can see all instances.

Only ``imaged status`` depends on it: work is protected by leases, which are independent of it. An
instance that was killed is shown as silent for a while, and then removed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import structlog

from imaged.core.errors import CatalogError
from imaged.core.summary import Instance
from imaged.ports.catalog import InstanceCatalog

log = structlog.get_logger()

SHOWN_SILENT_LEASES = 10  # how long a silent instance is shown, in leases
UNREGISTER_SECONDS = 5
MAX_TROUBLES = 20  # shown to operators; the log has all of them
MAX_TROUBLE_LENGTH = 300  # characters


class Heartbeat:
    """Keeps one row of the catalog up to date while the instance runs."""

    def __init__(
        self,
        catalog: InstanceCatalog,
        instance: Instance,
        lease: timedelta,
        troubles: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._catalog = catalog
        self._instance = instance
        self._troubles = troubles
        self._forget_after = SHOWN_SILENT_LEASES * lease

    async def send(self) -> None:
        """Register the instance with its current troubles. Raises CatalogError."""
        troubles = tuple(
            trouble[:MAX_TROUBLE_LENGTH] for trouble in self._troubles()[:MAX_TROUBLES]
        )
        instance = replace(self._instance, troubles=troubles)
        await self._catalog.register_instance(instance, self._forget_after)

    async def stop(self) -> None:
        """Remove the registration. If the catalog is unavailable, the row expires by itself."""
        with anyio.move_on_after(UNREGISTER_SECONDS, shield=True):
            try:
                await self._catalog.unregister_instance(self._instance.id)
            except CatalogError as error:
                log.warning("instance.leave_failed", error=str(error))
