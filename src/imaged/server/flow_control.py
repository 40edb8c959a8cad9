"""When a connection is read: not while requests wait that were read already."""

from __future__ import annotations

import asyncio
from collections.abc import Sized

from uvicorn.protocols.http.flow_control import FlowControl


class PipelineFlowControl(FlowControl):
    """The library reads on with each answer that it completes: behind a client that sends faster
    than it is answered, requests and their bodies would fill the memory.
    """

    def __init__(self, transport: asyncio.Transport, waiting: Sized) -> None:
        super().__init__(transport)
        self._waiting = waiting

    def resume_reading(self) -> None:
        """Go on, as soon as no request waits for the one that is being answered."""
        if not len(self._waiting):
            super().resume_reading()
