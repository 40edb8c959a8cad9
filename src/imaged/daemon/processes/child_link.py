"""The daemon's side of one child process: instructions to it, and messages from it.

A child that neither reads nor reports for too long hangs: it is ended, so that its log shows where.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from imaged.daemon.processes.channel import ChildChannel, CoalescingQueue
from imaged.daemon.processes.messages import ChildMessage, Instruction


@dataclass(eq=False)
class ChildLink:
    """Exchanges messages with a child until its channel closes.

    ``on_message``: gets every message. ``on_silence``: ends the child, which did nothing for that
    many seconds.
    """

    channel: ChildChannel
    on_message: Callable[[ChildMessage], None]
    on_silence: Callable[[float], None]
    report_seconds: float  # between two reports
    send_seconds: float  # that the child may not read
    _outbox: CoalescingQueue = field(default_factory=CoalescingQueue, init=False)

    def send(self, instruction: Instruction) -> None:
        """Queue an instruction."""
        self._outbox.put(instruction)

    async def run(self) -> None:
        """Exchange messages. Raises msgspec.MsgspecError for one that cannot be read."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._send_queued)
            try:
                await self._receive()
            finally:
                tasks.cancel_scope.cancel()

    async def _receive(self) -> None:
        while True:
            with anyio.move_on_after(self.report_seconds) as timeout:
                message = await self.channel.next_report()
            if timeout.cancelled_caught:
                self.on_silence(self.report_seconds)
                return
            if message is None:
                return
            self.on_message(message)

    async def _send_queued(self) -> None:
        while await self.channel.send_instruction(await self._outbox.get()):
            pass
        self.on_silence(self.send_seconds)
