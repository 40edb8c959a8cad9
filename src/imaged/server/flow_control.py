"""Flow control: a connection is not read while requests that it has read still wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl


class PipelineFlowControl(FlowControl):
    """Pauses reading while pipelined requests wait. uvicorn resumes reading after each answer, so a
    client that sends faster than it is answered would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Resume unless requests wait for an earlier answer."""
        if not len(self._waiting):
            super().resume_reading()
