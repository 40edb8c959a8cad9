"""The interface for detecting disk formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from imaged.core.disk_format import Findings


class Inspector(Protocol):
    """Inspects one stream, in order, with at most a few MiB of it in memory.

    It is fed in a lane beside the event loop and must not touch anything else.
    """

    def feed(self, chunk: bytes) -> None:
        """Inspect the next bytes. Never raises because of their content."""
        ...

    def findings(self) -> Findings:
        """Return the findings, once, after the end of the stream."""
        ...


InspectorFactory = Callable[[], Inspector]
