"""What the services ask of somebody who knows disk formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from imaged.core.disk_format import Findings


class Inspector(Protocol):
    """Looks at one stream, once, in order, and keeps a few MiB of it at most.

    It is fed in a lane beside the event loop: it may not touch anything else.
    """

    def feed(self, chunk: bytes) -> None:
        """Look at the next bytes. Never raises because of what they are."""
        ...

    def findings(self) -> Findings:
        """Say what was found, once the stream has ended. Call it once."""
        ...


InspectorFactory = Callable[[], Inspector]
