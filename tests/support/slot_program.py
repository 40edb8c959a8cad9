"""A program in which a daemon drains while a process is forked for one of its slots.

``python -m support.slot_program``: a process of its own, because one with threads must not fork.
It ends when the process has ended, and prints its exit code.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence

import anyio

from imaged.core.claim import InstanceId
from imaged.daemon.processes.channel import ChildChannel
from imaged.daemon.processes.fork_server import ForkServer
from imaged.daemon.processes.messages import Command, Instruction
from imaged.daemon.processes.slot import ProcessSlot

EXIT_CODE = 7


def child(descriptors: Sequence[int]) -> int:
    """Wait for the instruction to drain."""
    return anyio.run(drained, socket.socket(fileno=descriptors[0]))


async def drained(end: socket.socket) -> int:
    """Return EXIT_CODE when instructed to drain; 1 if the daemon is gone without that."""
    channel = await ChildChannel.from_socket(end)
    while (instruction := await channel.next_instruction()) is not None:
        if instruction is Command.DRAIN:
            return EXIT_CODE
    return 1


class DrainingDaemon:
    """Begins to drain when a process was forked, and before it is told anything."""

    listeners: Sequence[socket.socket] = ()

    def __init__(self) -> None:
        self.draining = anyio.Event()
        self.exit_codes: list[object] = []

    def new_holder(self) -> InstanceId:
        """Return a name, and drain: only processes that are known are instructed then."""
        self.draining.set()
        return InstanceId("one#1")

    def first_instructions(self, *_: object) -> Iterable[Instruction]:
        """Tell it nothing else."""
        return ()

    def receive(self, *_: object) -> None:
        """Expect no message."""

    def process_ended(self, *ended: object) -> None:
        """Note the exit code."""
        self.exit_codes.append(ended[-1])


async def main(server: ForkServer) -> None:
    """Run one slot until it ends."""
    daemon = DrainingDaemon()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await ProcessSlot(1, server, daemon).keep_running()
        tasks.cancel_scope.cancel()
    print(daemon.exit_codes)  # noqa: T201 - the result


if __name__ == "__main__":
    anyio.run(main, ForkServer.start(child))
